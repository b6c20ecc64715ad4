"""`trainer init`: files that nobody has described become recipes that fit them, or questions."""

from pathlib import Path

import pytest

from trainer.__main__ import main
from trainer.data.dataset import read_dataset
from trainer.data.profile import Profile, profile, sniff
from trainer.data.recipe_text import recipe_text
from trainer.recipe import Recipe, load_recipe


def written(folder: Path, text: str) -> Path:
    path = folder / "plant.csv"
    path.write_text(text)
    return path


def recipe_of(folder: Path, found: Profile) -> Recipe:
    path = folder / "plant.toml"
    path.write_text(recipe_text(found))
    return load_recipe(str(path))


def minutes(row: str, count: int = 60) -> str:
    return "".join(row.format(at=f"2026-05-01 00:{n:02}:00", n=n, wave=(n * 7) % 11) + "\n" for n in range(count))


def test_a_loggers_file_is_read_as_its_recipe_reads_it(tmp_path: Path) -> None:
    text = "Logger;7\nserial;99\n\ntime;flow;level;mode;spare\n;l/min;m;;\n" + minutes("{at};{wave},5;{n};auto;0")
    found = profile(written(tmp_path, text))
    assert found.layout.skip_rows == 3
    assert found.layout.unit_rows == 1
    assert set(found.left_out) == {"mode", "level"}
    assert found.constant == ["spare"]
    recipe = recipe_of(tmp_path, found)
    dataset = read_dataset(found.path, recipe.data)
    assert dataset.sensors == ("flow",)
    assert dataset.values[1, 0] == 7.5
    assert recipe.grid.step_seconds == 60


def test_a_label_is_asked_for_and_never_assumed(tmp_path: Path) -> None:
    found = profile(written(tmp_path, "time,a,b,y\n" + minutes("{at},{wave},{wave},0") + "2026-05-01 01:00:00,1,2,1\n"))
    assert "y" in found.label_candidates
    assert '# label_column = "y"' in recipe_text(found)
    assert recipe_of(tmp_path, found).data.label_column is None
    assert "y" not in read_dataset(found.path, recipe_of(tmp_path, found).data).sensors


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("time,tag,value\n2026-05-01,T1,1\n2026-05-01,T2,2\n2026-05-02,T1,3\n2026-05-02,T2,1\n", "long"),
        ('"Time","T"\n2026-05-01 00:00:00,1.5 °C\n2026-05-01 00:01:00,2.5 °C\n', "grafana"),
        ("#datatype,string,long\n#group,false,false\n#default,,\n,result,table,_time,_value,_field\n", "influx"),
        ("time;a\n2026-05-01;1,5\n2026-05-02;2,5\n", "wide"),
    ],
)
def test_the_form_is_found_out(tmp_path: Path, text: str, form: str) -> None:
    assert sniff(written(tmp_path, text)).form == form


def test_date_and_clock_in_two_columns_are_found(tmp_path: Path) -> None:
    found = profile(
        written(tmp_path, "Date;Clock;a\n10/03/2026;18.00.00;1\n10/03/2026;19.00.00;3\n13/03/2026;20.00.00;2\n")
    )
    assert found.layout.time_column == ("Date", "Clock")
    assert found.step_seconds > 3000


def test_a_counter_is_no_sensor_and_may_be_the_time(tmp_path: Path) -> None:
    found = profile(written(tmp_path, "minute,a\n" + "".join(f"{n},{(n * 7) % 11}\n" for n in range(40))))
    assert found.layout.without_time
    assert "is 'minute' the time?" in found.questions[0]
    assert read_dataset(found.path, recipe_of(tmp_path, found).data).sensors == ("a",)


def test_rows_without_header_and_time_are_samples(tmp_path: Path) -> None:
    found = profile(written(tmp_path, "".join(f"-1.{n % 7},0.{n % 5},2\n" for n in range(40))))
    recipe = recipe_of(tmp_path, found)
    assert recipe.grid.kind == "table"
    assert not recipe.data.header


def test_steps_back_and_shared_times_are_questions(tmp_path: Path) -> None:
    rows = "".join(f"2026-05-01 00:{n:02}:00,{n % 7}\n" for n in [*range(20), *range(20), *range(20)])
    asked = " ".join(profile(written(tmp_path, "time,a\n" + rows)).questions)
    assert "2 rows are earlier than the row before them" in asked
    assert "40 of 60 rows have the time of an earlier row" in asked


def test_a_number_far_outside_of_all_others_is_asked_for_as_a_missing_value(tmp_path: Path) -> None:
    rows = "".join(
        f"2026-05-01 00:{n:02}:00,{-200 if n % 9 == 0 else 20 + n % 13},{n * 7 % 31},{n % 2}\n" for n in range(60)
    )
    found = profile(written(tmp_path, "time,gas,flow,running\n" + rows))
    assert found.missing_codes == {-200: ["gas"]}
    assert "does -200 stand for a missing value?" in " ".join(found.questions)
    assert "# missing_codes = [-200" in recipe_text(found)
    assert recipe_of(tmp_path, found).data.missing_codes == ()


def test_several_files_are_profiled_together_in_the_order_of_time(tmp_path: Path) -> None:
    for day in (2, 1):
        rows = "".join(f"2026-05-0{day}T{hour:02d}:00:00Z,{hour},{day}\n" for hour in range(24))
        (tmp_path / f"day-{day}.csv").write_text("time,a,b\n" + rows)
    found = profile(tmp_path / "day-2.csv", tmp_path / "day-1.csv")
    assert len(found.history) == 48
    assert found.sensors == ["a", "b"]


def test_a_first_column_that_counts_the_rows_is_no_time_beside_one_with_dates(tmp_path: Path) -> None:
    rows = "".join(f"{row},2004.02.12.10.{row:02d}.39,{row % 3},{row % 5}\n" for row in range(40))
    (tmp_path / "Bearing_1.csv").write_text(",Datetime,a,b\n" + rows)
    found = profile(tmp_path / "Bearing_1.csv")
    assert found.layout.time_column == "Datetime"
    assert found.step_seconds == 60
    assert found.sensors == ["a", "b"]


def test_a_first_column_that_counts_the_rows_alone_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(",a,b\n" + "".join(f"{row},{row % 3},{row % 5}\n" for row in range(40)))
    assert any("no column is a time" in question for question in profile(tmp_path / "rows.csv").questions)


def test_a_recipe_is_named_after_its_file_whatever_that_is_called(tmp_path: Path) -> None:
    rows = "".join(f"2026-05-01T00:{row:02d}:00Z,{row % 3},{row % 5}\n" for row in range(40))
    (tmp_path / "plant.csv").write_text("time,a,b\n" + rows)
    (tmp_path / "1st_Test 10min.toml").write_text(recipe_text(profile(tmp_path / "plant.csv")))
    assert load_recipe(str(tmp_path / "1st_Test 10min.toml")).name == "1st-test-10min"


def test_a_recipe_that_somebody_may_have_edited_is_not_written_over_unless_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, recipe = written(tmp_path, "time,a,b\n" + minutes("{at},{wave},{n}")), tmp_path / "edited.toml"
    recipe.write_text("# by hand\n")
    arguments = ["init", "--data", str(data), "--out", str(recipe)]
    assert main(arguments) == 2
    assert "edited.toml is there already; name another file with --out, or write over it with --force" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert recipe.read_text() == "# by hand\n"
    assert main([*arguments, "--force"]) == 0
    assert load_recipe(str(recipe)).grid.step_seconds == 60


def machines(rows: str, count: int = 60, names: tuple[str, ...] = ("pm-1", "pm-2")) -> list[str]:
    lines = [(n, name) for n in range(count) for name in names]
    return [rows.format(at=f"2026-05-01 00:{n:02}:00", name=name, wave=(n * 7) % 11) + "\n" for n, name in lines]


@pytest.mark.parametrize("column", ["machine", "Aggregat"])
def test_a_column_that_brings_the_rows_into_order_names_the_assets(tmp_path: Path, column: str) -> None:
    text = f"time,{column},a,b\n" + "".join(machines("{at},{name},{wave},{wave}"))
    found = profile(written(tmp_path, text))
    assert found.layout.asset_column == column
    assert f"column '{column}' names the assets: time ascends within each" in found.history.report.lines()
    dataset = read_dataset(found.path, recipe_of(tmp_path, found).data)
    assert [name for name, _ in dataset.by_asset()] == ["pm-1", "pm-2"]


def test_machines_one_behind_the_other_are_found(tmp_path: Path) -> None:
    rows = sorted(machines("{at},{name},{wave},{wave}"), key=lambda row: row.split(",")[1])
    assert profile(written(tmp_path, "time,machine,a,b\n" + "".join(rows))).layout.asset_column == "machine"


def test_a_column_that_only_sounds_like_a_machine_is_asked_for(tmp_path: Path) -> None:
    text = "time,machine,a\n" + minutes("{at},RUN,{wave}") + "2026-05-01 01:00:00,STOP,1\n"
    found = profile(written(tmp_path, text))
    assert found.layout.asset_column is None
    assert "does 'machine' name the machine? The rows are in order without it (asset_column)" in found.questions
    assert recipe_of(tmp_path, found).data.asset_column is None


def test_the_long_form_keeps_its_machines_apart(tmp_path: Path) -> None:
    rows = machines("{at},{name},a,{wave}")
    found = profile(written(tmp_path, "time,device,tag,value\n" + "".join(rows)))
    assert found.layout.asset_column == "device"
    assert len(found.history) == 120


def test_machines_in_the_names_of_files_are_found_where_their_times_overlap_and_else_asked_for(tmp_path: Path) -> None:
    def file(name: str, day: int) -> None:
        (tmp_path / name).write_text("time,a\n" + minutes("{at},{wave}").replace("05-01", f"05-{day:02}"))

    for name, day in (("0_WELL-1_a.csv", 1), ("0_WELL-2_b.csv", 2), ("1_WELL-1_c.csv", 3)):
        file(name, day)
    asked = profile(tmp_path)
    assert not asked.history.assets
    assert "# asset_pattern = " in recipe_text(asked)
    file("1_WELL-2_d.csv", 3)
    found = profile(tmp_path)
    assert found.history.assets == ("WELL-1", "WELL-2")
    assert 'asset_pattern = "[A-Za-z]+-?\\\\d+"' in recipe_text(found)
