"""Rows of a real PostgreSQL become what a file with the same columns becomes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import DataError, UsageError
from tests.support.stack.postgres import postgres, why_no_postgres
from trainer.__main__ import main
from trainer.data.sql_dataset import read_sql_dataset
from trainer.recipe import DataConfig

MAY = 1777593600.0
WIDE = """
    CREATE TABLE wide (time timestamptz, flow double precision, level numeric(9, 3), running boolean);
    INSERT INTO wide SELECT to_timestamp(1777593600 + 60 * n), n,
      CASE WHEN n % 10 = 3 THEN NULL ELSE n / 4.0 END, n % 2 = 0 FROM generate_series(0, 99) AS n;
    CREATE TABLE long (at timestamptz, machine text, tag text, value double precision);
    INSERT INTO long SELECT to_timestamp(1777593600 + 60 * n), machine, tag, n FROM generate_series(0, 9) AS n,
      (VALUES ('pm-1'), ('pm-2')) AS m (machine), (VALUES ('a'), ('b')) AS t (tag)
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    reason = why_no_postgres()
    if reason is not None:
        pytest.skip(reason)
    dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with postgres() as url:
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in WIDE.split(";"):
                cursor.execute(statement)
        yield url


@pytest.mark.slow
def test_rows_of_a_query_are_those_of_a_wide_file(database: str) -> None:
    found = read_sql_dataset(database, "SELECT * FROM wide ORDER BY time", DataConfig())
    assert found.sensors == ("flow", "level", "running")
    assert found.times.tolist() == [MAY + 60 * n for n in range(100)]
    np.testing.assert_array_equal(found.values[2:5], [[2, 0.5, 1], [3, np.nan, 0], [4, 1, 1]])


@pytest.mark.slow
def test_the_long_form_of_several_machines_is_pivoted(database: str) -> None:
    config = DataConfig(form="long", time_column="at", asset_column="machine")
    found = read_sql_dataset(database, "SELECT * FROM long ORDER BY at", config)
    assert [name for name, _ in found.by_asset()] == ["pm-1", "pm-2"]
    assert found.sensors == ("a", "b")
    assert found.values[:10].tolist() == [[n, n] for n in range(10)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nothing", 'relation "nothing" does not exist'),
        ("SELECT * FROM wide WHERE flow < 0", "has no rows"),
        ("SELECT flow FROM wide", "the query on localhost/postgres has no time column 'time'"),
    ],
)
def test_what_a_query_cannot_give_is_named(database: str, query: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_sql_dataset(database, query, DataConfig())


@pytest.mark.slow
def test_a_database_that_is_away_is_named() -> None:
    pytest.importorskip("adbc_driver_postgresql")
    with pytest.raises(DataError, match=r"127\.0\.0\.1/plant does not answer the query"):
        read_sql_dataset("postgresql://127.0.0.1:1/plant", "SELECT 1", DataConfig())


@pytest.mark.slow
def test_a_bundle_is_fitted_from_a_query(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "plant.toml"
    recipe.write_text(
        'title = "t"\n[data]\nsensors = ["flow", "level"]\n[grid]\nstep_seconds = 60\n[window]\nsteps = 3\n'
        '[model]\nkind = "tail-deviation"\n[threshold]\npolicy = "quantile"\n'
    )
    arguments = ["fit", "--recipe", str(recipe), "--from-sql", database, "--out", str(tmp_path / "bundle")]
    assert main([*arguments, "--query", "SELECT * FROM wide ORDER BY time"]) == 0
    assert "2 sensors" in capsys.readouterr().out


def test_another_kind_of_database_and_an_address_that_is_none_are_named() -> None:
    with pytest.raises(UsageError, match="or influxdb://HOST/DATABASE, and not 'mysql'"):
        read_sql_dataset("mysql://historian/plant", "SELECT 1", DataConfig())
    with pytest.raises(UsageError, match="wants postgresql://HOST/DATABASE: Invalid IPv6"):
        read_sql_dataset("postgresql://[::1/plant", "SELECT 1", DataConfig())


@pytest.mark.parametrize(
    "arguments", [["--from-sql", "postgresql:///p"], ["--query", "SELECT 1", "--data", "plant.csv"]]
)
def test_a_query_and_its_database_go_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--recipe", "simulated", *arguments]) == 2
    assert "--from-sql and --query go together" in capsys.readouterr().err
