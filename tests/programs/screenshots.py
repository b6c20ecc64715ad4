"""Pictures of the console for the docs: `make screenshots` (python -m tests.programs.screenshots [FOLDER]).

With pngquant (Debian: pngquant) on PATH they are a third of the size.
"""

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from stream_detector.messages import Feedback, to_iso
from stream_detector.operations.console.views import PlantView, Tag
from tests.support.console.browser import chromium, why_no_browser
from tests.support.console.console_plant import ConsolePlant
from tests.support.console.console_server import ConsoleServer
from tests.support.messages import MIDNIGHT, STEP_SECONDS, planned_downtime
from tests.support.paths import DOCS

FOLDER = DOCS / "images"


class Shot(NamedTuple):
    """`query` behind the address, `plant` by name in `PLANTS`; `ready`: what must be there first."""

    name: str
    width: int
    height: int
    scheme: str
    scale: float = 1.0
    query: str = ""
    plant: str = "four"
    ready: str = ".trace svg"


SHOTS = (
    Shot("console-light", 1440, 1040, "light"),
    Shot("console-dark", 1440, 1040, "dark"),
    Shot("console-phone", 390, 844, "light", 2.0),
    Shot("console-many", 1440, 1040, "light", plant="many", ready=".tile"),
    Shot("console-wall", 2560, 1440, "dark", 0.75, "?wall", "many", ".tile"),
    Shot("console-wall-light", 2560, 1440, "light", 0.75, "?wall", "many", ".tile"),
    Shot("console-states", 1440, 900, "light", plant="states", ready=".aside"),
    Shot("console-states-dark", 1440, 900, "dark", plant="states", ready=".aside"),
    Shot("console-phone-dark", 390, 2300, "dark", 1.0, plant="states", ready=".aside"),
    Shot("console-unknown", 1440, 620, "light", plant="lost", ready=".unknown-text"),
    Shot("console-switch", 1440, 620, "dark", plant="switch", ready=".unknown-text"),
)


def plant_with_an_alarm() -> ConsolePlant:
    """A day of the plant, with an alarm up now and a false one in the past."""
    plant = ConsolePlant()
    plant.false_alarm("pm-1")
    plant.break_ahead("pm-1")
    plant.advance()
    return plant


def plant_of_two_hundred() -> ConsolePlant:
    """The same beside 196 assets of another worker, two in alarm and three without new data."""
    plant = plant_with_an_alarm()
    plant.neighbours(196, in_alarm=2, silent=3)
    return plant


def plant_without_a_broker() -> ConsolePlant:
    """The same when the broker has gone away: nothing newer can be known."""
    plant = ConsolePlant()
    plant.records = "lost"
    return plant


def plant_of_every_state() -> ConsolePlant:
    """One machine or more in each state that an asset may be in."""
    now = time.time()
    begin, until = ((at - MIDNIGHT) / STEP_SECONDS for at in (now - 3600, now + 7200))
    plant = ConsolePlant(planner=planned_downtime(begin, until, assets="boiler-*"))
    plant.break_ahead("pm-1")
    plant.advance()
    idle: dict[str, Any] = {"score": None, "probability": None}
    sample = plant.newest["pm-2"]
    plant.observe(
        replace(sample, time=sample.time + STEP_SECONDS, not_running=True, degraded=0, top_sensors=(), **idle)
    )
    plant.tell("pm-5", warming_up=True, **idle)
    plant.tell("pm-6", age_seconds=7_200.0)
    for asset in ("boiler-1", "pm-7", "pm-8"):
        plant.tell(asset)
    for asset, action, reason in (("pm-7", "shelve", "x7 is being calibrated"), ("pm-8", "out-of-service", "rebuild")):
        said = {"asset": asset, "action": action, "who": "shift leader", "at": to_iso(now - 1800), "reason": reason}
        until_ = to_iso(now + 3600) if action == "shelve" else None
        plant.history.observe_feedback(Feedback.model_validate({**said, "until": until_}))
    return plant


def plant_before_a_switch() -> ConsolePlant:
    """A worker stands before a record that names a bundle which it lacks."""
    plant = ConsolePlant()
    plant.ready = False
    stands = "partition 2 stands at 1840221, where bundle 77d0c4e19a5b3f26 takes over"
    plant.notice = f"The detector is not ready: {stands}: the registry bundles holds no bundle 77d0c4e19a5b3f26."
    return plant


PLANTS = {
    "four": plant_with_an_alarm,
    "many": plant_of_two_hundred,
    "states": plant_of_every_state,
    "lost": plant_without_a_broker,
    "switch": plant_before_a_switch,
}

WORDS = PlantView(
    "",
    "",
    {
        "x7": Tag("press draw", "m/min"),
        "x3": Tag("felt vacuum", "kPa"),
        "x11": Tag("steam pressure", "bar"),
        "x9": Tag("stock flow", "l/s"),
        "x12": Tag("couch vacuum", "kPa"),
    },
)


def shrink(picture: Path) -> None:
    """A palette of 256 colours is enough for a page, and a third of the size, where pngquant is there to make it."""
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--strip", "--ext", ".png", "256", str(picture)], check=True)


def main(folder: Path = FOLDER) -> None:
    reason = why_no_browser()
    if reason is not None:
        sys.exit(f"no pictures: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name, make in PLANTS.items():
            with ConsoleServer(make(), words=WORDS) as server:
                for shot in (shot for shot in SHOTS if shot.plant == name):
                    context = browser.new_context(
                        viewport={"width": shot.width, "height": shot.height},
                        color_scheme=shot.scheme,
                        device_scale_factor=shot.scale,
                        reduced_motion="reduce",
                    )
                    page = context.new_page()
                    page.goto(f"{server.url}{shot.query}")
                    page.locator(shot.ready).first.wait_for()
                    page.wait_for_timeout(2_000)  # descriptions and what was last time come after the page
                    page.screenshot(path=folder / f"{shot.name}.png")
                    shrink(folder / f"{shot.name}.png")
                    print(f"wrote {folder / shot.name}.png")
                    context.close()


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
