"""Figures on their way into docs/performance.md."""

import json

import pytest

from benchmarks import sizing
from benchmarks.broker import endurance, latency, startup
from benchmarks.broker.endurance import Sample, thinned
from benchmarks.broker.latency import latency_of
from benchmarks.broker.paced import Sent
from benchmarks.figures import TABLES, refilled, sized
from benchmarks.memory import Case, Cost, costs
from benchmarks.page import PAGE, as_json, filled, markdown
from benchmarks.sizing import BASE_MEGABYTES, Plant, row
from tests.support.stack.processes import summed

MACHINE = {"cpu": "a processor", "cores": 2, "python": "3.11.7", "load_before": 0.1}


def test_the_page_says_what_the_figures_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refilled(page) == page, "run `python -m benchmarks.figures`"


def test_the_sizes_follow_from_the_figures() -> None:
    page = sizing.PAGE.read_text(encoding="utf-8")
    assert sized(page) == page, "run `python -m benchmarks.figures`"


@pytest.mark.parametrize("name", list(TABLES))
def test_the_page_has_a_place_for_every_table(name: str) -> None:
    assert "| a table |" in filled(PAGE.read_text(encoding="utf-8"), name, "| a table |")


def test_a_table_replaces_the_one_before_and_nothing_else() -> None:
    page = "above\n<!-- figures: x -->\nold\n<!-- end of x -->\nbelow\n"
    assert filled(page, "x", "new") == page.replace("old", "new")
    assert filled(filled(page, "x", "new"), "x", "old") == page


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        filled("<!-- figures: x -->\n", "x", "new")


def test_the_json_is_what_was_measured_one_sample_a_line() -> None:
    document = {"machine": MACHINE, "samples": [{"seconds": 1.0}, {"seconds": 2.0}], "empty": [], "flat": True}
    text = as_json(document)
    assert json.loads(text) == document
    assert '\n  {"seconds": 1.0},\n  {"seconds": 2.0}\n' in text


def test_a_table_has_one_column_of_text_and_the_rest_of_numbers() -> None:
    assert markdown(("a", "b"), [("x", 1)]) == "| a | b |\n|---|--:|\n| x | 1 |"


def test_metrics_are_summed_over_their_labels() -> None:
    text = '# HELP reads\nreads_total{partition="0"} 3.0\nreads_total{partition="1"} 4.0\nready 1.0\n'
    assert summed(text) == {"reads_total": 7.0, "ready": 1.0}


def sent_steps(count: int, lost: int = 0) -> tuple[Sent, dict[tuple[str, str], int]]:
    """Steps a second apart; the alarm of step k comes k ms after its closing record. The last ones have no alarm."""
    closings = [("m", f"step {number}", 1000 * number) for number in range(count)]
    raised = {(asset, step): moment + number for number, (asset, step, moment) in enumerate(closings)}
    for asset, step, _ in closings[count - lost :]:
        del raised[asset, step]
    return Sent(50 * count, float(count), 0.0, 1.0, closings), raised


def test_latency_is_taken_from_the_closing_record_to_its_alarm_without_the_start() -> None:
    sent, raised = sent_steps(1000)
    found = latency_of(50, sent, raised, 0.14)
    assert (found.samples, found.sent_per_s) == (800, 50)
    assert found.p50_ms == pytest.approx(599.5)
    assert found.p99_ms == pytest.approx(991, abs=0.1)
    assert found.longest_ms == 999


def test_too_few_alarms_for_a_percentile_are_refused() -> None:
    with pytest.raises(RuntimeError, match="240 alarms after the start-up, 300 are wanted"):
        latency_of(50, *sent_steps(1000, lost=700), 0.14)


def test_the_costs_of_an_asset_and_a_sensor_follow_from_differences() -> None:
    mebibyte, base = 2**20, 550.0
    cases = [
        Case(5, assets, sensors, base, base + 7 + assets * (2048 + 700 * sensors) / mebibyte)
        for assets in (1000, 10_000)
        for sensors in (1, 10, 60)
    ]
    (found,) = costs(cases)
    assert found.asset_bytes == pytest.approx(2048, abs=1)
    assert found.sensor_bytes == pytest.approx(700, abs=1)


def test_costs_without_the_combinations_they_follow_from_are_refused() -> None:
    with pytest.raises(ValueError, match=r"windows of 5 steps: no figures for .*\(1000, 1\)"):
        costs([Case(5, 1000, 60, 500, 600), Case(5, 10_000, 1, 500, 600), Case(5, 10_000, 60, 500, 900)])


def endurance_document(leak_mb_per_sample: float) -> dict[str, object]:
    samples = [
        Sample(10.0 * n, 600 + leak_mb_per_sample * n, 500, 40_000, 1_000_000 * n, 3.0 * n) for n in range(1, 182)
    ]
    sent = Sent(181_000_000, 1810.0, 3.0, 200.0)
    return dict(endurance.document_of(MACHINE, 100_000, samples, sent))


@pytest.mark.parametrize(("leak", "verdict"), [(0.0, "**flat**"), (1.0, "**not flat**")])
def test_the_table_of_the_endurance_run_gives_verdict_rates_and_load(leak: float, verdict: str) -> None:
    document = endurance_document(leak)
    assert json.loads(json.dumps(document)) == document
    table = endurance.table(document)
    assert verdict in table
    rows = table.splitlines()[-10:]
    assert all(row.endswith("| 100,000 | 30% |") for row in rows)
    assert rows[-1].startswith("| 30.0 |")


def test_thinning_keeps_the_ends() -> None:
    assert thinned(range(181), 11) == list(range(0, 181, 18))
    assert thinned([1, 2], 11) == [1, 2]


def test_the_table_of_latencies_says_whether_the_rate_was_kept() -> None:
    one = latency.Latency(50_000, 49_000, 12.4, 960, 9.2, 30.4, 41.0, 0.714)
    table = latency.table({"machine": MACHINE, "rates": [vars(one)]})
    assert table.splitlines()[-1] == "| 50,000 | 49,000 | 12 ms | 960 | 9 ms | 30 ms | 41 ms | 71% |"


def test_the_table_of_starts_gives_median_and_longest_and_the_stages() -> None:
    document = {
        "machine": MACHINE,
        "start_to_ready_seconds": startup.spread([1.5, 1.2, 1.31]),
        "stage_ends_seconds": {"settings": 0.2, "ready": 1.31},
        "kill_to_commit_seconds": startup.spread([1.1, 2.0, 1.9]),
        "kill_to_commit_without_instance_seconds": startup.spread([10.2]),
    }
    lines = startup.table(document).splitlines()
    assert "| start to green | 1.31 | 1.50 |" in lines
    assert "| kill to commit, stable instance | 1.90 | 2.00 |" in lines
    assert lines[-1] == "| ready | 1.31 |"


def test_the_sizing_table_adds_up_what_assets_and_sensors_cost_in_each_worker() -> None:
    plant = Plant(assets=10_000, sensors=10, step_seconds=1.0, case="readings-1s")
    cells = row(plant, {"readings-1s": 100_000.0}, Cost(30, 2**20, 2**10), reserve=0.5)
    workers, partitions, megabytes = cells[3:6]
    assert (workers, partitions) == ("2", "4")
    assert megabytes == f"{BASE_MEGABYTES + 5_000 * (1 + 10 / 1024):,.0f} MB"
