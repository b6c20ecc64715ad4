"""The demo without a terminal: a line for every alarm, break and few seconds; and the summary at the end."""

import time
from statistics import median

from stream_detector.demo.screen import Frame
from stream_detector.demo.watch import Watch
from stream_detector.messages import Alarm, LoggedEvent, to_iso
from stream_detector.operations.notify.alarm_text import alarm_line, moment, span

STATUS_SECONDS = 10.0


class PlainView:
    """Lines on standard output."""

    def __init__(self) -> None:
        self._said = time.monotonic()
        self._breaks = 0

    def show(self, frame: Frame, news: list[Alarm | LoggedEvent]) -> None:
        for item in news:
            if isinstance(item, Alarm):
                print(alarm_line(item).plain, flush=True)
        self._say_breaks(frame.watch)
        now = time.monotonic()
        if now - self._said >= STATUS_SECONDS:
            self._said = now
            print(status_line(frame), flush=True)

    def _say_breaks(self, watch: Watch) -> None:
        """A break is told once the scores have passed it: only then it is certain whether an alarm announced it."""
        events = watch.events()
        for event in events[self._breaks :]:
            if event.pending:
                return
            found = "missed" if event.lead_seconds is None else f"caught {span(event.lead_seconds)} ahead"
            print(f"{moment(to_iso(event.time), date=True)}Z  BREAK    {watch.asset}  {found}", flush=True)
            self._breaks += 1


def status_line(frame: Frame) -> str:
    watch, tally = frame.watch, frame.watch.tally()
    delay = "-" if watch.delay_seconds is None else f"{watch.delay_seconds * 1000:,.0f} ms"
    return (
        f"-- {frame.done:.0%} sent, {watch.readings_per_second:,.0f} readings/s, {watch.scored:,} steps scored, "
        f"delay {delay}; caught {tally.caught} of {tally.caught + tally.missed}, {tally.false_alarms} false alarms, "
        f"saved {tally.saved:,.0f}"
    )


def summary(watch: Watch) -> list[str]:
    """What the demo showed, in a few lines."""
    tally, costs = watch.tally(), watch.costs
    leads = [event.lead_seconds for event in watch.events() if event.lead_seconds is not None]
    delay = watch.delay_seconds
    undecided = tally.alarms - tally.right_alarms - tally.false_alarms
    rest = f", {undecided} open" if undecided else ""
    facts = {
        "readings": f"{watch.readings:,} sent, {watch.scored:,} steps scored",
        "breaks": f"{tally.caught + tally.missed}: {tally.caught} caught, {tally.missed} missed",
        "lead": f"{span(min(leads))} to {span(max(leads))}, median {span(median(leads))}" if leads else "-",
        "alarms": f"{tally.alarms}: {tally.right_alarms} right, {tally.false_alarms} false{rest}",
        "cost": f"{tally.cost:,.0f} (a missed break {costs.fn:g}, an alarm {costs.fp:g})",
        "never alarming": f"{tally.never_cost:,.0f}",
        "saved": f"{tally.saved:,.0f} ({tally.saved_share:.0%})",
        "delay": "-"
        if delay is None
        else f"{delay * 1000:,.0f} ms from the plant's sending to the score on the screen",
    }
    return [f"  {name:<15} {fact}" for name, fact in facts.items()]
