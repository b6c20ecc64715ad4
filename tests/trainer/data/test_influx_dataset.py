"""Rows of a real InfluxDB become what a file with the same columns becomes."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from stream_detector.errors import DataError, UsageError
from tests.support.stack.influxdb import influxdb, why_no_influxdb
from trainer.__main__ import main
from trainer.data.sql_dataset import read_sql_dataset
from trainer.recipe import DataConfig

MAY = 1777593600
LINES = "\n".join(
    [
        *(
            f"mill,machine=pm-{machine} flow={n},level={n / 4}{',on=true' if n == 3 else ''} {MAY + 60 * n}000000000"
            for machine in (1, 2)
            for n in range(100)
        ),
        f'word,machine=pm-1 said="run, \\"now\\"",flow=1.5 {MAY}000000000',
        f"tank temp=20 {MAY}000000000",
        *(
            f"{name} value={n + more} {MAY + 60 * n}000000000"
            for n in range(9)
            for name, more in (("flow", 0), ("level", 100))
        ),
        f"odd flow=1 {MAY}000000000",
        *(f"odd,machine={machine} flow=2 {MAY + 60}000000000" for machine in (r"a\,b\=c\ d", "e")),
    ]
)
ONE = "SELECT flow, level FROM mill WHERE machine = 'pm-1'"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    reason = why_no_influxdb()
    if reason is not None:
        pytest.skip(reason)
    with influxdb(LINES) as place:
        yield f"influxdb://{place}/plant"


@pytest.mark.slow
def test_rows_of_a_query_are_those_of_a_wide_file(database: str) -> None:
    found = read_sql_dataset(database, ONE, DataConfig())
    assert found.sensors == ("flow", "level")
    assert found.times.tolist() == [MAY + 60 * n for n in range(100)]
    np.testing.assert_array_equal(found.values[:3], [[0, 0], [1, 0.25], [2, 0.5]])


@pytest.mark.slow
def test_what_the_query_groups_by_tells_machines_apart(database: str) -> None:
    query = "SELECT mean(flow) AS flow, max(level) AS level FROM mill WHERE time < 1777593900s"
    config = DataConfig(asset_column="machine")
    found = read_sql_dataset(database, f"{query} GROUP BY time(1m), machine fill(none)", config)
    assert [(name, len(found.times[part])) for name, part in found.by_asset()] == [("pm-1", 5), ("pm-2", 5)]
    assert found.sensors == ("flow", "level")


@pytest.mark.slow
def test_names_of_machines_may_hold_any_mark_and_a_series_may_have_none(database: str) -> None:
    query, config = "SELECT flow FROM odd{} GROUP BY machine", DataConfig(asset_column="machine")
    found = read_sql_dataset(database, query.format(" WHERE machine != ''"), config)
    assert [name for name, _ in found.by_asset()] == ["a,b=c d", "e"]
    with pytest.raises(DataError, match="'machine' names no asset in data row 1"):
        read_sql_dataset(database, query.format(""), config)


@pytest.mark.slow
def test_several_measurements_are_told_apart_by_their_names_and_never_taken_for_one(database: str) -> None:
    query = "SELECT mean(value) AS value FROM flow, level GROUP BY time(1m) fill(none)"
    found = read_sql_dataset(database, query, DataConfig(form="long", tag_column="name"))
    assert found.sensors == ("flow", "level")
    np.testing.assert_array_equal(found.values[:2], [[0, 100], [1, 101]])
    with pytest.raises(DataError, match="column 'name' holds 'flow' in data row 1, not a number"):
        read_sql_dataset(database, query, DataConfig())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT flow FROM nothing", "has no rows; does the database hold"),
        ("SELECT flow mill", "127.0.0.1/plant refuses the query: error parsing query: found mill, expected FROM"),
        (f"{ONE}; SELECT temp FROM tank", "gives several tables; ask one question"),
    ],
)
def test_what_a_query_cannot_give_is_named(database: str, query: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_sql_dataset(database, query, DataConfig())


@pytest.mark.slow
def test_a_user_is_let_in_by_the_password_of_the_environment_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = why_no_influxdb()
    if reason is not None:
        pytest.skip(reason)
    with influxdb(LINES, "reader", "a secret") as place:
        monkeypatch.setenv("INFLUX_PASSWORD", "a secret")
        assert len(read_sql_dataset(f"influxdb://reader@{place}/plant", ONE, DataConfig())) == 100
        monkeypatch.setenv("INFLUX_PASSWORD", "another")
        with pytest.raises(DataError, match="refuses the query: authorization failed"):
            read_sql_dataset(f"influxdb://reader@{place}/plant", ONE, DataConfig())
        with pytest.raises(DataError, match="refuses the query: unable to parse authentication credentials"):
            read_sql_dataset(f"influxdb://{place}/plant", ONE, DataConfig())


@pytest.mark.slow
def test_a_bundle_is_fitted_from_a_query(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "plant.toml"
    recipe.write_text(
        'title = "t"\n[grid]\nstep_seconds = 60\n[window]\nsteps = 3\n'
        '[model]\nkind = "tail-deviation"\n[threshold]\npolicy = "quantile"\n'
    )
    arguments = ["fit", "--recipe", str(recipe), "--from-sql", database, "--out", str(tmp_path / "bundle")]
    assert main([*arguments, "--query", ONE]) == 0
    assert "2 sensors" in capsys.readouterr().out


def test_a_database_that_is_away_is_named() -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1/plant does not answer the query: .*refused"):
        read_sql_dataset("influxdb://127.0.0.1:1/plant", "SELECT 1", DataConfig())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("influxdb://historian", "influxdb://HOST:8086/DATABASE is wanted"),
        ("influxdb:///plant", "influxdb://HOST:8086/DATABASE is wanted"),
        ("influxdb://historian:port/plant", "influxdb://HOST:8086/DATABASE is wanted"),
        ("influxdb://me:secret@historian/plant", "put it into INFLUX_PASSWORD"),
        ("influxdb://me:secret@historian", "influxdb://HOST:8086/DATABASE is wanted"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_password_is_shown(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_sql_dataset(url, "SELECT 1", DataConfig())
    assert "secret" not in str(refused.value)


class Answers(BaseHTTPRequestHandler):
    """Answers with no text at /latin/, and sends whoever asks elsewhere on to there."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.headers["Authorization"]))
        port = self.headers["Host"].rpartition(":")[2]
        self.send_response(200 if self.path == "/latin/" else 302)
        self.send_header("Location", f"http://localhost:{port}/latin/")
        self.end_headers()
        self.wfile.write("name,tags,größe\n".encode("latin-1"))

    def log_message(self, *args: object) -> None: ...


def test_a_token_out_of_a_file_is_sent_without_its_line_break_and_to_no_other_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("INFLUX_TOKEN", "secret\n")
        with pytest.raises(DataError, match="does not answer as InfluxDB does"):
            read_sql_dataset(f"influxdb://127.0.0.1:{server.server_port}/plant", "SELECT 1", DataConfig())
        server.shutdown()
    (first, token), (second, none) = Answers.seen
    assert (first.split(":")[0], token) == ("127.0.0.1", "Token secret")
    assert (second.split(":")[0], none) == ("localhost", None)
