"""Pictures of the console for the docs: `make screenshots` (python -m tests.programs.screenshots [FOLDER])."""

import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.browser import chromium, why_no_browser
from tests.support.console_plant import ConsolePlant
from tests.support.console_server import ConsoleServer
from tests.support.paths import DOCS

FOLDER = DOCS / "images"


class Shot(NamedTuple):
    name: str
    width: int
    height: int
    scheme: str
    scale: float = 1.0


SHOTS = (
    Shot("console-light", 1440, 1040, "light"),
    Shot("console-dark", 1440, 1040, "dark"),
    Shot("console-phone", 390, 844, "light", 2.0),
    Shot("console-wall", 2560, 1440, "dark", 0.75),
)


def plant_with_an_alarm() -> ConsolePlant:
    """A day of the plant, with an alarm up now and a false one in the past."""
    plant = ConsolePlant()
    plant.false_alarm("pm-1")
    plant.break_ahead("pm-1")
    plant.advance()
    return plant


def main(folder: Path = FOLDER) -> None:
    reason = why_no_browser()
    if reason is not None:
        sys.exit(f"no pictures: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    with ConsoleServer(plant_with_an_alarm()) as server, chromium() as browser:
        for shot in SHOTS:
            context = browser.new_context(
                viewport={"width": shot.width, "height": shot.height},
                color_scheme=shot.scheme,
                device_scale_factor=shot.scale,
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(server.url)
            page.locator(".alarm-card.open").wait_for()
            page.locator(".trace svg").first.wait_for()
            page.screenshot(path=folder / f"{shot.name}.png")
            print(f"wrote {folder / shot.name}.png")
            context.close()


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
