"""`make drill`: breaks each thing that an alert names, and looks who is told, how soon, and of what else.

Five plants with real brokers, detectors and forwarders share one Prometheus and one Alertmanager with the shipped
files. Rules that wait for more than a minute wait a tenth of that here, and at least a minute; nothing else about them
is different, but for one threshold (`rules.REBUILD`). Quiet hours are off.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.drill.faults import PLANTS, together
from tests.drill.judge import PREFIX, Judgement
from tests.drill.rules import NOT_DRILLED, alerts, waits
from tests.drill.stand import Stand
from tests.support.marked_page import enter
from tests.support.paths import DOCS
from tests.support.stack.kafka import why_no_kafka
from tests.support.stack.monitoring import why_no_monitoring
from tests.support.stack.mqtt import why_no_mosquitto

PAGE = DOCS / "studies" / "drill.md"
BEGIN, END = "<!-- table of `make drill` -->", "<!-- end of the table -->"
WELL_SECONDS = 30.0
LONGEST_GAP_SECONDS = 90.0
"""The sign of life comes once a minute."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"enter the table into {PAGE.name}")
    names = [*PLANTS, *(name.removeprefix(PREFIX) for name in alerts() if name not in NOT_DRILLED)]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME",
        help=f"break only what belongs to this plant ({', '.join(PLANTS)}), or what raises this alert; may be repeated",
    )  # fmt: skip
    parser.add_argument("--keep", type=Path, help="keep logs there")
    options = parser.parse_args()
    for reason in (why_no_kafka(), why_no_monitoring(), why_no_mosquitto()):
        if reason is not None:
            sys.exit(f"the drill cannot run here: {reason}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    try:
        return drill(folder, options.only or [], write=options.write)
    finally:
        if options.keep is not None:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def drill(folder: Path, only: list[str], *, write: bool) -> int:
    """The drill in this folder, of all or only of these plants and alerts; returns the exit code."""
    print(
        "starting two brokers, six detectors, three forwarders, a bridge, Prometheus and Alertmanager ...", flush=True
    )
    began = time.monotonic()
    with Stand(folder, only) as stand:
        print(
            f"  all ready after {time.monotonic() - began:.0f} s; {WELL_SECONDS:.0f} s in which nothing is broken",
            flush=True,
        )
        stand.began = began = time.monotonic()
        time.sleep(WELL_SECONDS)
        together([work for plant in PLANTS.values() for work in plant(stand)])
        minutes = (time.monotonic() - began) / 60
        gaps = [later - earlier for earlier, later in zip(stand.alive, stand.alive[1:], strict=False)]
        order = {name: place for place, name in enumerate(alerts())}
        wanted = [name for name in order if name not in NOT_DRILLED and (not only or name.removeprefix(PREFIX) in only)]
        results = sorted(stand.results, key=lambda result: order.get(result.alert, len(order)))
        judgement = Judgement(results, stand.told, wanted)
    table = judgement.table(waits())
    longest = max(gaps, default=0.0)
    said = [
        f"{minutes:.1f} minutes. The sign of life came {len(stand.alive)} times, its longest gap was {longest:.0f} s.",
        *(
            f"FALSE: {told.alert} at {told.site}, {told.at - began:.0f} s after the begin"
            for told in judgement.false_ones()
        ),
        *(f"NOT TRIED: {alert}" for alert in judgement.missing()),
    ]
    print(table + "\n" + "\n".join(said))
    good = judgement.good and 0.0 < longest < LONGEST_GAP_SECONDS
    if write and good and not only:
        enter(PAGE, BEGIN, END, f"{table}\n{said[0]}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
