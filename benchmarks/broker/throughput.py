"""Readings a second, side by side on one real broker, in one run.

    python -m benchmarks.broker.throughput [--repeats 3] [--cases readings-120s,rows-120s] [--quick] [--write]

The broker has one core, the contender the other. The contenders of a case take turns, `repeats` times round; the figure
is the median. Slow peers read a shorter topic of the same shape; one that is not there is left out. Written:
`benchmarks/results.json` and a table.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.broker import contenders
from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.contenders import ContenderError, Figure
from benchmarks.broker.load import Load, write
from benchmarks.broker.streams import why_no_streams
from benchmarks.page import add_arguments, fill_page, markdown
from tests.support.stack.kafka import Kafka, create_topic

NAME = "results"
BROKER_CORE, CONTENDER_CORE = 1, 0

Contender = Callable[[int, str, str, Load, Path], Figure]


@dataclass(frozen=True)
class Case:
    """One shape of load. `peers` also read it; a peer's own line in the results is `<peer>-<load>`."""

    load: Load
    window_steps: int
    peers: tuple[str, ...] = ()


# Windows as in the recipes: 5 steps on the 2-minute grid (`paper-mill`), 30 on the 1-second grid.
CASES = (
    Case(Load("readings-120s", "readings", 20, 61, 120.0, 2_400_000), 5, ("stock-faust", "quix", "kafka-streams")),
    Case(Load("rows-120s", "rows", 20, 61, 120.0, 12_000_000), 5, ("stock-faust", "quix", "kafka-streams")),
    Case(Load("readings-1s", "readings", 20, 61, 1.0, 2_400_000), 30, ("stock-faust", "kafka-streams")),
    Case(Load("blocks", "blocks", 8, 1, 1 / 12_000, 24_000_000), 500),
    Case(Load("readings-120s-10000-assets", "readings", 10_000, 10, 120.0, 3_000_000), 5),
    Case(Load("readings-1s-10000-assets", "readings", 10_000, 10, 1.0, 4_500_000), 30),
)


@dataclass(frozen=True)
class Peer:
    """How to run one, why it cannot be run here, and by what the readings of its shorter topic are divided."""

    run: Contender
    why_not: Callable[[], str | None]
    divisor: int


PEERS = {
    "stock-faust": Peer(contenders.stock_faust, lambda: None, 16),
    "quix": Peer(contenders.quix, contenders.why_no_quix, 4),
    "kafka-streams": Peer(contenders.kafka_streams, why_no_streams, 1),
}


def with_peers_here(case: Case) -> Case:
    """The case with those of its peers that can be run."""
    return replace(case, peers=tuple(peer for peer in case.peers if PEERS[peer].why_not() is None))


def shorter(load: Load, divisor: int) -> Load:
    return replace(load, readings=load.readings // divisor)


def run_case(case: Case, bootstrap: str, folder: Path, repeats: int, quick: bool) -> dict[str, list[Figure]]:
    """What every contender reached, one figure a round."""
    load = shorter(case.load, 8) if quick else case.load
    bundle = write_bundle(folder / case.load.name, load, case.window_steps)
    topics: dict[str, tuple[str, Load]] = {}
    for name, divisor in {"agent": 1, **{peer: PEERS[peer].divisor for peer in case.peers}}.items():
        if name != "agent" and divisor == 1:
            topics[name] = topics["agent"]
            continue
        its_load = shorter(load, divisor)
        topic = f"{load.name}-{name}"
        create_topic(bootstrap, topic, its_load.partitions, retention_ms="-1")
        print(f"  writing {its_load.exact_readings:,} readings for {name}", file=sys.stderr, flush=True)
        write(bootstrap, topic, its_load)
        topics[name] = (topic, its_load)
    runners: dict[str, tuple[Contender, str]] = {
        "limit": (contenders.limit, "agent"),
        "agent": (contenders.agent, "agent"),
    }
    runners |= {peer: (PEERS[peer].run, peer) for peer in case.peers}
    figures: dict[str, list[Figure]] = {name: [] for name in runners}
    for round_number in range(repeats):
        for name, (runner, topic_of) in runners.items():
            topic, its_load = topics[topic_of]
            figure = runner(CONTENDER_CORE, bootstrap, topic, its_load, bundle)
            figures[name].append(figure)
            rate = f"{figure.readings_per_s:12,.0f} readings/s"
            print(f"  round {round_number + 1}: {name:12} {rate}", file=sys.stderr, flush=True)
    return figures


def results_of(case: Case, figures: dict[str, list[Figure]]) -> list[dict[str, Any]]:
    """The lines of results.json for one case: ours first, then the limit and the peers."""
    rates = {name: [figure.readings_per_s for figure in rounds] for name, rounds in figures.items()}
    medians = {name: statistics.median(values) for name, values in rates.items()}

    def ratio(mine: float, other: str) -> float | None:
        return round(mine / medians[other], 3) if other in medians else None

    lines: list[dict[str, Any]] = []
    for name, median in medians.items():
        lines.append(
            {
                "case": case.load.name if name == "agent" else f"{name}-{case.load.name}",
                "readings_per_s": round(median),
                "ratio_to_limit": ratio(median, "limit"),
                "ratio_to_stock_faust": ratio(median, "stock-faust"),
                "ratio_to_quix": ratio(median, "quix"),
                "ratio_to_kafka_streams": ratio(median, "kafka-streams"),
                "rounds": [round(value) for value in rates[name]],
            }
        )
        peaks = [figure.peak_rss_mb for figure in figures[name] if figure.peak_rss_mb is not None]
        if peaks:
            lines[-1]["peak_rss_mb"] = round(max(peaks))
    return sorted(lines, key=lambda line: line["case"] != case.load.name)


def table(lines: list[dict[str, Any]]) -> str:
    """The lines of results.json as the page shows them."""
    ratios = ("ratio_to_limit", "ratio_to_kafka_streams", "ratio_to_quix", "ratio_to_stock_faust")
    rows = [
        (
            line["case"],
            f"{line['readings_per_s']:,}",
            *("" if line.get(ratio) is None else line[ratio] for ratio in ratios),
        )
        for line in lines
    ]
    return markdown(("case", "readings/s", "/ limit", "/ Kafka Streams", "/ Quix", "/ stock Faust"), rows)


def run_cases(
    wanted: Collection[str], folder: Path, repeats: int, quick: bool, json_file: Path
) -> list[dict[str, Any]]:
    """The lines of results.json; the file has those of each case once it is over."""
    lines: list[dict[str, Any]] = []
    own_cores = os.sched_getaffinity(0)
    for case in CASES:
        if case.load.name not in wanted:
            continue
        print(case.load.name, file=sys.stderr, flush=True)
        # The broker inherits the affinity that its parent has when it starts it.
        os.sched_setaffinity(0, {BROKER_CORE} & own_cores or own_cores)
        with Kafka(config={"log.segment.bytes": "268435456"}) as kafka:
            os.sched_setaffinity(0, own_cores)
            lines += results_of(case, run_case(with_peers_here(case), kafka.bootstrap, folder, repeats, quick))
        json_file.write_text(json.dumps(lines, indent=1) + "\n")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", default=",".join(case.load.name for case in CASES))
    parser.add_argument(
        "--quick", action="store_true", help="an eighth of the load: to try the benchmark, not to quote it"
    )
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    wanted = arguments.cases.split(",")
    unknown = sorted(set(wanted) - {case.load.name for case in CASES})
    if unknown:
        parser.error(f"no case named {', '.join(unknown)}; there are {', '.join(case.load.name for case in CASES)}")
    for name, peer in PEERS.items():
        reason = peer.why_not()
        if reason is not None:
            print(f"{name} is left out: {reason}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="stream-detector-bench-") as folder:
        try:
            lines = run_cases(wanted, Path(folder), arguments.repeats, arguments.quick, arguments.json)
        except ContenderError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(table(lines))
    if arguments.write:
        fill_page(NAME, table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
