"""The registry: what is in it never changes, every change is written down, and references name exactly one bundle."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle import journal
from stream_detector.bundle.bundle import load_bundle, sign_bundle
from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.bundle.registration import add_bundle, check_registered
from stream_detector.bundle.registry import Registry, bundle_folder
from stream_detector.errors import BundleError, UsageError
from tests.bundle.test_bundle import key_pair
from tests.support.bundles import write_small_bundle

AT = 1_780_000_000.0


def registry_of(folder: Path, *seeds: int) -> tuple[Registry, list[str]]:
    """A registry with one bundle a seed, and their ids."""
    registry = Registry.create(folder / "registry")
    ids = []
    for seed in seeds:
        write_small_bundle(
            folder / f"bundle-{seed}", threshold=ThresholdRecord(value=seed, policy="fixed", how="given")
        )
        ids.append(add_bundle(registry, folder / f"bundle-{seed}", AT, "Kim").manifest.bundle_id)
    return registry, ids


def test_a_bundle_lies_under_the_hash_of_its_content_with_who_and_when(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    assert load_bundle(registry.folder_of(bundle_id)).manifest.bundle_id == bundle_id
    (record,) = registry.records(bundle_id)
    assert (record.who, record.what, record.at[:4], record.data["rows"]) == ("Kim", "added", "2026", 9)


def test_adding_a_bundle_again_changes_nothing_and_a_verdict_is_written_under_the_others(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    assert not add_bundle(registry, tmp_path / "bundle-1", AT + 1, "Lee").new
    assert len(registry.records(bundle_id)) == 1
    add_bundle(registry, tmp_path / "bundle-1", AT + 2, "Lee", verdict={"saving": 0.2})
    assert [record.what for record in registry.records(bundle_id)] == ["added", "judged"]


def test_a_damaged_bundle_is_whole_again_once_it_is_added_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    place = registry.folder_of(bundle_id)
    private, public = key_pair()
    sign_bundle(tmp_path / "bundle-1", private)
    add_bundle(registry, tmp_path / "bundle-1", AT, "Kim")
    (place / "scaler.safetensors").unlink()
    for name in ("weights.safetensors", "manifest.json"):
        (place / name).chmod(0o644)
        (place / name).write_bytes((place / name).read_bytes()[:-1] + b"x")
    assert main(["bundles", "add", str(tmp_path / "bundle-1"), "--registry", str(registry.folder)]) == 0
    assert "was damaged, and is whole again" in capsys.readouterr().out
    assert check_registered(registry, bundle_id, public).bundle_id == bundle_id
    assert sorted(path.name for path in registry.folder.iterdir() if path.name.startswith(".")) == []
    assert [record.what for record in registry.records(bundle_id)] == ["added", "signed"]


def test_a_crash_between_copy_and_record_is_mended_by_adding_again(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    (registry.folder / "records" / f"{bundle_id}.jsonl").unlink()
    with pytest.raises(BundleError, match="no record"):
        check_registered(registry, bundle_id)
    add_bundle(registry, tmp_path / "bundle-1", AT, "Kim")
    assert check_registered(registry, bundle_id).bundle_id == bundle_id


@pytest.mark.parametrize("reference", ["champion", "{id}", "{id:.6}"])
def test_a_path_names_a_bundle_by_alias_id_or_the_beginning_of_one(tmp_path: Path, reference: str) -> None:
    registry, (bundle_id, _) = registry_of(tmp_path, 1, 2)
    registry.promote("champion", bundle_id, "2026-11-01T00:00:00Z", "Kim")
    path = registry.folder / reference.format(id=bundle_id)
    assert load_bundle(path).manifest.bundle_id == bundle_id


def test_a_reference_to_nothing_says_what_there_is(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    registry.promote("champion", bundle_id, "2026-11-01T00:00:00Z", "Kim")
    with pytest.raises(BundleError, match="no bundle 'challenger': 1 bundles, aliases champion"):
        bundle_folder(registry.folder / "challenger")


def test_the_beginning_of_several_ids_is_refused(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    twin = bundle_id[:-1] + ("0" if bundle_id[-1] != "0" else "1")
    registry.folder_of(twin).mkdir()
    with pytest.raises(BundleError, match="stands for 2 bundles"):
        registry.resolve(bundle_id[:8])


def test_a_bundle_that_was_exchanged_for_another_whole_one_is_refused(tmp_path: Path) -> None:
    registry, (first, second) = registry_of(tmp_path, 1, 2)
    registry.folder_of(first).rename(tmp_path / "away")
    registry.folder_of(second).rename(registry.folder_of(first))
    with pytest.raises(BundleError, match=f"holds bundle {second}, not {first}"):
        load_bundle(registry.folder / first)


def test_a_bundle_that_raises_nothing_is_shown_in_the_words_of_check_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = ThresholdRecord(value=1.0, policy="cost-optimal", how="none saves anything", pays=False)
    write_small_bundle(tmp_path / "bundle", threshold=silent)
    registry = Registry.create(tmp_path / "registry")
    bundle_id = add_bundle(registry, tmp_path / "bundle", AT, "Kim").manifest.bundle_id
    assert main(["check-bundle", str(registry.folder / bundle_id)]) == 0
    assert "none, for no threshold pays" in capsys.readouterr().out
    assert main(["bundles", "show", bundle_id, "--registry", str(registry.folder)]) == 0
    assert "none, for no threshold pays" in capsys.readouterr().out


def test_nothing_is_written_over_a_registered_bundle(tmp_path: Path) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    with pytest.raises(UsageError, match="lies in a registry"):
        write_small_bundle(registry.folder_of(bundle_id))
    with pytest.raises(UsageError, match="lies in a registry"):
        write_small_bundle(registry.folder / "champion")
    with pytest.raises(UsageError, match="lies in a registry"):
        sign_bundle(registry.folder / bundle_id, key_pair()[0])


def test_a_rollback_goes_back_as_often_as_something_was_promoted(tmp_path: Path) -> None:
    registry, ids = registry_of(tmp_path, 1, 2, 3)
    for bundle_id in ids:
        assert registry.promote("champion", bundle_id, "2026-11-01T00:00:00Z", "Kim")
    assert not registry.promote("champion", ids[2], "2026-11-02T00:00:00Z", "Lee")
    seen = [registry.roll_back("champion", "2026-11-03T00:00:00Z", "Lee", "too many alarms").bundle for _ in range(2)]
    assert seen == [ids[1], ids[0]]
    with pytest.raises(BundleError, match="stood for nothing before"):
        registry.roll_back("champion", "2026-11-03T00:00:00Z", "Lee")
    assert len(registry.changes("champion")) == 5


@pytest.mark.parametrize("alias", ["Champion", "../up", "", "deadbeef", "a/b"])
def test_an_alias_that_could_be_an_id_or_a_path_is_refused(tmp_path: Path, alias: str) -> None:
    registry, (bundle_id,) = registry_of(tmp_path, 1)
    with pytest.raises(UsageError, match="alias"):
        registry.promote(alias, bundle_id, "2026-11-01T00:00:00Z", "Kim")


def test_where_a_key_is_set_an_unsigned_bundle_is_not_taken_and_a_signature_may_come_later(tmp_path: Path) -> None:
    private, public = key_pair()
    registry = Registry.create(tmp_path / "registry")
    write_small_bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match="not signed"):
        add_bundle(registry, tmp_path / "bundle", AT, "Kim", public_key=public)
    assert registry.ids() == []
    bundle_id = add_bundle(registry, tmp_path / "bundle", AT, "Kim").manifest.bundle_id
    sign_bundle(tmp_path / "bundle", private)
    add_bundle(registry, tmp_path / "bundle", AT, "Kim", public_key=public)
    assert check_registered(registry, bundle_id, public).bundle_id == bundle_id
    assert [record.what for record in registry.records(bundle_id)] == ["added", "signed"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0].replace(b"Kim", b"Lee"), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [*lines, b"{}\n"],
    ],
)
def test_a_record_that_was_changed_by_hand_is_found(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = tmp_path / "record.jsonl"
    for number in range(3):
        journal.append(path, {"who": "Kim", "number": number})
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(BundleError, match="changed by hand"):
        journal.read(path)


def test_a_line_that_a_crash_left_half_written_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    journal.append(path, {"number": 0})
    with path.open("ab") as file:
        file.write(b'{"number": 1, "bef')
    assert journal.read(path) == [{"number": 0}]
    journal.append(path, {"number": 2})
    assert journal.read(path) == [{"number": 0}, {"number": 2}]


@pytest.mark.slow
def test_writers_of_several_processes_break_no_chain(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    code = "import sys; from pathlib import Path; from stream_detector.bundle import journal\n"
    code += "for number in range(20): journal.append(Path(sys.argv[1]), {'number': number})"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(journal.read(path)) == 60


def test_the_commands_tell_the_story_of_a_bundle(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_small_bundle(tmp_path / "bundle")
    where = ["--registry", str(tmp_path / "registry")]
    (tmp_path / "verdict.json").write_text('{"saving": 0.16}')
    verdict = ["--verdict", str(tmp_path / "verdict.json")]
    assert main(["bundles", "add", str(tmp_path / "bundle"), *where, "--who", "Kim", *verdict, "--note", "newer"]) == 0
    assert main(["bundles", "add", str(tmp_path / "bundle"), *where]) == 0
    capfd.readouterr()
    assert main(["bundles", "list", *where, "--json", "-"]) == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert main(["bundles", "show", entry["bundle"][:5], *where]) == 0
    shown = capfd.readouterr().out
    assert "added by Kim: newer" in shown
    assert "verdict.saving = 0.16" in shown
    assert main(["check-bundle", str(tmp_path / "registry" / entry["bundle"][:5])]) == 0
    assert main(["bundles", "verify", *where]) == 0
    damaged = tmp_path / "registry" / "bundles" / entry["bundle"] / "weights.safetensors"
    os.chmod(damaged, 0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert main(["bundles", "verify", *where]) == 1
    assert "was changed" in capfd.readouterr().err


def test_a_folder_that_is_no_registry_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["bundles", "list", "--registry", str(tmp_path)]) == 2
    assert main(["bundles", "list"]) == 2
    assert "STREAM_DETECTOR_REGISTRY" in capfd.readouterr().err
    with pytest.raises(UsageError, match="something else"):
        Registry.create(tmp_path)


def test_promote_and_rollback_write_down_who_and_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    registry, ids = registry_of(tmp_path, 1, 2)
    where = ["--registry", str(registry.folder), "--who", "Kim"]
    for bundle_id in ids:
        assert main(["promote", bundle_id[:6], *where, "--why", "it saves more"]) == 0
    assert main(["rollback", *where, "--why", "too many alarms"]) == 0
    assert load_bundle(registry.folder / "champion").manifest.bundle_id == ids[0]
    assert [(change.who, change.why) for change in registry.changes("champion")][-1] == ("Kim", "too many alarms")
    assert main(["rollback", *where]) == 2
    assert "promote a bundle instead" in capfd.readouterr().err


def test_a_damaged_bundle_is_not_promoted(tmp_path: Path) -> None:
    registry, ids = registry_of(tmp_path, 1)
    damaged = registry.folder_of(ids[0]) / "weights.safetensors"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert main(["promote", ids[0], "--registry", str(registry.folder)]) == 2
    assert registry.aliases() == {}
