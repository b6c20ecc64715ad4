"""Alarms, events and feedback for tests, on a two-minute grid that starts at midnight of 2026-05-01."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from stream_detector.messages import Alarm, Costs, Feedback, LoggedEvent, OperatingChange, TopSensor, to_iso
from stream_detector.operations.downtime.planned import Downtime, Planned
from stream_detector.operations.ledger.ledger import Ledger

Message = Alarm | LoggedEvent | Feedback | OperatingChange
AnyLedger = TypeVar("AnyLedger", bound=Ledger)

STEP_SECONDS = 120.0
MIDNIGHT = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
STEPS_A_DAY = 720


def at_step(step: float) -> str:
    return to_iso(MIDNIGHT + step * STEP_SECONDS)


def make_alarm(raised: int, cleared: int | None = None, asset: str = "pm-1", **changes: Any) -> Alarm:
    """An alarm raised at step `raised`; in the cleared form where `cleared` is given."""
    bundle = changes.get("bundle", "b1")
    fields: dict[str, Any] = {
        "id": f"{asset}/{raised}/{bundle}",
        "asset": asset,
        "state": "raised" if cleared is None else "cleared",
        "raised_at": at_step(raised),
        "cleared_at": None if cleared is None else at_step(cleared),
        "expected_from": at_step(raised + 1),
        "expected_until": at_step(raised + 2),
        "probability": 0.12,
        "score": 3.0,
        "threshold": 0.05,
        "top_sensors": [TopSensor(sensor="x7", share=0.6, value=12.5, expected=10.25)],
        "bundle": bundle,
        "recipe": "paper-mill-calibrated",
        "costs": Costs(),
        "step_seconds": STEP_SECONDS,
    }
    return Alarm(**(fields | changes))


def make_event(step: float, event: str = "break", **changes: Any) -> LoggedEvent:
    return LoggedEvent(**({"time": at_step(step), "event": event} | changes))


def make_feedback(
    action: str, alarm: str | None = None, at: float | str = 0, asset: str = "pm-1", **changes: Any
) -> Feedback:
    fields = {
        "asset": asset,
        "action": action,
        "alarm": alarm,
        "who": "shift leader",
        "at": at if isinstance(at, str) else at_step(at),
    }
    return Feedback(**(fields | changes))


def make_change(step: float, running: bool, asset: str = "pm-1") -> OperatingChange:
    """From this step on; events are foreseen one or two steps ahead."""
    return OperatingChange(
        asset=asset, time=at_step(step), running=running, step_seconds=STEP_SECONDS, lead_from_steps=1,
        lead_until_steps=2, bundle="b",
    )  # fmt: skip


def fill(ledger: AnyLedger, *messages: Message) -> AnyLedger:
    """Add the messages in their order; an event that names no asset is one of pm-1."""
    for message in messages:
        match message:
            case Alarm():
                ledger.add_alarm(message)
            case LoggedEvent():
                ledger.add_event("pm-1", message)
            case Feedback():
                ledger.add_feedback(message)
            case OperatingChange():
                ledger.add_operating(message)
    return ledger


def planned_downtime(begin: float, until: float, assets: str = "pm-*", what: str = "boiler inspection") -> Downtime:
    """A calendar with one window, from step to step."""
    return Downtime(_OneWindow(Planned(assets, MIDNIGHT + begin * STEP_SECONDS, MIDNIGHT + until * STEP_SECONDS, what)))


@dataclass(frozen=True)
class _OneWindow:
    window: Planned

    def between(self, begin: float, until: float) -> list[Planned]:
        return [self.window] if self.window.begin < until and self.window.until > begin else []
