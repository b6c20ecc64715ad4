"""What an hour leaves behind in the console's tab, and how soon the first of 1,000 assets is there.

    python -m benchmarks.console_tab [--messages 3600] [--write]

A real Chromium (Debian: chromium) shows a plant in which everything happens: steps of 4 machines of this worker and of
196 of another one, alarms raised, cleared and answered, events. With steps of a second the page gets a message a
second; an hour of them comes as quickly as the page takes them. Before it lies so much that lists and curves are as
long as they become. The heap is measured after a forced collection of garbage.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said
from stream_detector.messages import Feedback, to_iso
from stream_detector.operations.console import server as console_server
from tests.support.console import console_plant
from tests.support.console.browser import chromium, why_no_browser
from tests.support.console.console_plant import ConsolePlant
from tests.support.console.console_server import ConsoleServer

NAME = "console_tab"
HOUR = 3_600
MEASUREMENTS = 7
NEIGHBOURS = 196
MANY = 1_000
ALARM_EVERY = 40
"""Steps: 90 alarms in the hour."""
BEFORE = 6 * HOUR
"""Steps before the page is opened: as much as its curve shows, and 540 alarms, of which its list shows 200."""
OPENINGS = 5
SETTLE_SECONDS = 3.0

COUNT_MESSAGES = """
window.messagesTaken = 0;
const Shared = window.SharedWorker;
window.SharedWorker = function (...given) {
  const made = new Shared(...given);
  made.port.addEventListener("message", () => { window.messagesTaken += 1; });
  return made;
};
"""
FIRST_ASSET = """
new MutationObserver((_, observer) => {
  if (document.querySelector('.asset, .tile')) { window.firstAfter = performance.now(); observer.disconnect(); }
}).observe(document, {childList: true, subtree: true});
"""


@dataclass(frozen=True)
class Tab:
    """After so many messages: heaps of page and shared worker (bytes), and what the page holds."""

    messages: int
    heap_bytes: int
    worker_heap_bytes: int
    nodes: int
    listeners: int
    elements: int


class Inspector:
    """The developer tools of one page and of the worker that it shares."""

    def __init__(self, browser: Any, context: Any, page: Any) -> None:
        self._page = page
        self._session = context.new_cdp_session(page)
        self._session.send("Performance.enable")
        self._browser = browser.new_browser_cdp_session()
        found = self._browser.send("Target.getTargets", {"filter": [{"type": "shared_worker"}]})["targetInfos"]
        [worker] = found
        attached = self._browser.send("Target.attachToTarget", {"targetId": worker["targetId"], "flatten": False})
        self._worker = attached["sessionId"]
        self._answers: dict[int, Any] = {}
        self._browser.on("Target.receivedMessageFromTarget", self._heard)
        self._sent = 0

    def _heard(self, event: Any) -> None:
        message = json.loads(event["message"])
        if "id" in message:
            self._answers[message["id"]] = message.get("result")

    def _of_worker(self, method: str) -> Any:
        self._sent += 1
        message = json.dumps({"id": self._sent, "method": method})
        self._browser.send("Target.sendMessageToTarget", {"sessionId": self._worker, "message": message})
        until = time.monotonic() + 30
        while self._sent not in self._answers:
            if time.monotonic() > until:
                raise RuntimeError(f"the shared worker does not answer {method}")
            self._page.wait_for_timeout(20)
        return self._answers.pop(self._sent)

    def look(self, messages: int) -> Tab:
        """Collects the garbage, then measures."""
        for _ in range(3):
            self._session.send("HeapProfiler.collectGarbage")
            self._of_worker("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in self._session.send("Performance.getMetrics")["metrics"]}
        return Tab(
            messages=messages,
            heap_bytes=round(found["JSHeapUsedSize"]),
            worker_heap_bytes=round(self._of_worker("Runtime.getHeapUsage")["usedSize"]),
            nodes=round(found["Nodes"]),
            listeners=round(found["JSEventListeners"]),
            elements=self._page.evaluate("document.querySelectorAll('*').length"),
        )


class Hour:
    """A plant whose clock goes on by a second with each message."""

    def __init__(self) -> None:
        console_plant.STEP_SECONDS = 1.0
        self._now = float(round(time.time()))
        self.plant = ConsolePlant(lambda: self._now)
        for number in range(BEFORE):
            self.go_on(number, tell=False)
        self.plant.neighbours(NEIGHBOURS, in_alarm=2, silent=3)

    def go_on(self, number: int, *, tell: bool = True) -> None:
        plant, now = self.plant, self._now
        self._now += 1.0
        if number % ALARM_EVERY == 0:
            plant.break_ahead(("pm-1", "pm-3")[number // ALARM_EVERY % 2], 6)
        if number % ALARM_EVERY == 10:
            for view in plant.history.alarms()[:2]:
                answer = Feedback(
                    asset=view.alarm.asset, action="acknowledge", alarm=view.alarm.id, who="Kim", at=to_iso(now)
                )
                plant.history.observe_feedback(answer)
        if tell:
            plant.tell(f"line{number % 4 + 1}/dry-{number % NEIGHBOURS:03d}")
        plant.advance()


def hour(browser: Any, messages: int) -> list[Tab]:
    """Measured at the begin, at equal distances, and at the end."""
    console_server.CHANGE_SECONDS = console_server.TICK_SECONDS = 0.002
    running, context = Hour(), browser.new_context(viewport={"width": 1440, "height": 1040})
    page = context.new_page()
    page.add_init_script(COUNT_MESSAGES)
    marks = {round(messages * place / (MEASUREMENTS - 1)) for place in range(MEASUREMENTS)}
    found = []
    with ConsoleServer(running.plant) as server:
        page.goto(server.url)
        _until(page, "document.querySelectorAll('.tile').length > 0 && document.querySelector('#score-chart svg')")
        inspector = Inspector(browser, context, page)
        for number in range(messages + 1):
            if number in marks:
                page.wait_for_timeout(1_000 * SETTLE_SECONDS)
                found.append(inspector.look(number))
                print(found[-1], file=sys.stderr, flush=True)
            taken = page.evaluate("window.messagesTaken")
            running.go_on(number)
            _until(page, f"window.messagesTaken > {taken}")
        context.close()
    return found


def _until(page: Any, expression: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > until:
            raise RuntimeError(f"not within {seconds:g} s: {expression}")
        page.wait_for_timeout(5)


def first_asset(browser: Any) -> list[float]:
    """Milliseconds from the opening of a page until it shows an asset; the plant has more than a thousand."""
    plant, times = ConsolePlant(), []
    plant.neighbours(MANY, in_alarm=3, silent=2)
    with ConsoleServer(plant) as server:
        for _ in range(OPENINGS):
            context = browser.new_context(viewport={"width": 1440, "height": 1040})
            page = context.new_page()
            page.add_init_script(FIRST_ASSET)
            page.goto(server.url)
            _until(page, f"window.firstAfter && document.querySelectorAll('.tile').length > {MANY}")
            times.append(round(page.evaluate("window.firstAfter")))
            context.close()
    return times


def table(document: Document) -> str:
    rows = [
        (
            f"{tab['messages']:,}", f"{tab['heap_bytes'] / 2**20:.2f}", f"{tab['worker_heap_bytes'] / 2**20:.2f}",
            f"{tab['nodes']:,}", f"{tab['listeners']:,}", f"{tab['elements']:,}",
        )
        for tab in document["tabs"]
    ]  # fmt: skip
    header = ("messages", "heap of the page, MB", "of the shared worker, MB", "nodes", "listeners", "elements shown")
    times = sorted(document["first_asset_ms"])
    return (
        f"{said(document['machine'])}\n\n{markdown(header, rows)}\n\n"
        f"- of {MANY + 4:,} assets the first is shown {times[0]:.0f} ms after the page was opened, in the middle of "
        f"{len(times)} openings {times[len(times) // 2]:.0f} ms, at the latest {times[-1]:.0f} ms (aim: 1,000 ms)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=HOUR, help="as many as come in an hour, one a second")
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    reason = why_no_browser()
    if reason is not None:
        sys.exit(f"the console cannot be shown here: {reason}")
    taken_on = machine()
    with chromium() as browser:
        first = first_asset(browser)
        print(first, file=sys.stderr, flush=True)
        tabs = hour(browser, arguments.messages)
    document = {"machine": taken_on, "tabs": [asdict(tab) for tab in tabs], "first_asset_ms": first}
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
