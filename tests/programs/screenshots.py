"""Pictures of the console for the docs: `make screenshots` (python -m tests.programs.screenshots [FOLDER])."""

import sys
from pathlib import Path
from typing import NamedTuple

from stream_detector.operations.console.views import PlantView, Tag
from tests.support.console.browser import chromium, why_no_browser
from tests.support.console.console_plant import ConsolePlant
from tests.support.console.console_server import ConsoleServer
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
    Shot("console-unknown", 1440, 620, "light", plant="lost", ready=".unknown-text"),
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


PLANTS = {"four": plant_with_an_alarm, "many": plant_of_two_hundred, "lost": plant_without_a_broker}

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
                    print(f"wrote {folder / shot.name}.png")
                    context.close()


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
