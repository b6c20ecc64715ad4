"""What people and the forwarder have said, as the console shows it: who has seen an alarm, and what is set aside.

The forwarder's changes of state (`detector.alarm-states`) count, so that console and notifications agree. What a person
said after the newest of them counts on top: the forwarder has not read it yet, or there is none.
"""

import math
from collections.abc import Callable, Iterable

from msgspec import Struct

from stream_detector.messages import Alarm, AlarmStateChange, Feedback, from_iso
from stream_detector.operations.alarms.alarm_states import CALENDAR, FORWARDER
from stream_detector.operations.downtime.planned import Planned, Planner

MOST_STATES = 5_000
"""Newest states of alarms that are kept."""

MOST_ANSWERS = 20_000
"""Newest answers that are kept: anybody may name alarms and assets that do not exist."""

SUBJECTS = {
    "acknowledge": ("alarm", "acknowledge"),
    "real": ("alarm", "judgement"),
    "false-alarm": ("alarm", "judgement"),
    "unjudge": ("alarm", "judgement"),
    "acted": ("alarm", "acted"),
    "shelve": ("asset", "shelve"),
    "unshelve": ("asset", "shelve"),
    "out-of-service": ("asset", "out-of-service"),
    "in-service": ("asset", "out-of-service"),
}
"""Subject of each action; of several about the same subject the newest counts."""


class SetAside(Struct, frozen=True):
    """An asset whose alarms nobody is told of. `state`: shelved, planned (by the calendar) or out-of-service; `until`
    None = without an end."""

    asset: str
    state: str
    who: str
    why: str
    until: float | None


class Acknowledgement(Struct, frozen=True):
    """Who has seen an alarm; `at` is ISO 8601."""

    who: str
    at: str


class Answers:
    """Takes feedback and changes of state in any order.

    Args:
        clock: epoch seconds; shelvings and windows of the calendar end by it.
        planner: knows when assets are down by plan; None: there is no calendar.
    """

    def __init__(self, clock: Callable[[], float], planner: Planner | None = None) -> None:
        self._clock = clock
        self._planner = planner
        self._windows: frozenset[Planned] = frozenset()
        self._feedback: dict[tuple[str, str], Feedback] = {}
        self._alarms: dict[str, AlarmStateChange] = {}
        self._assets: dict[str, AlarmStateChange] = {}
        self._looked_at = -math.inf

    def take_feedback(self, feedback: Feedback) -> None:
        """Enters what a person said."""
        subject, kind = SUBJECTS[feedback.action]
        if subject == "alarm" and feedback.alarm is None:
            return  # a signal of the plant, which knows no alarms
        key = (feedback.asset if subject == "asset" else str(feedback.alarm), kind)
        known = self._feedback.get(key)
        if known is None or from_iso(feedback.at) >= from_iso(known.at):
            self._feedback.pop(key, None)
            self._feedback[key] = feedback
            if len(self._feedback) > MOST_ANSWERS:
                self._forget_answers()

    def _forget_answers(self) -> None:
        """Each kind is cut by itself, so that answers to alarms push no asset out of its shelf."""
        for kind in {kind for _, kind in SUBJECTS.values()}:
            keys = [key for key in self._feedback if key[1] == kind]
            for key in keys[: max(0, len(keys) - MOST_ANSWERS // 4)]:
                del self._feedback[key]

    def take_state(self, change: AlarmStateChange) -> None:
        """Enters a change of state that the forwarder made; the changes of one asset come in order."""
        if change.alarm is None:
            self._assets[change.asset] = change
            return
        self._alarms.pop(change.alarm, None)
        self._alarms[change.alarm] = change
        if len(self._alarms) > MOST_STATES:
            del self._alarms[next(iter(self._alarms))]

    def judgement(self, alarm_id: str) -> str | None:
        """`real` or `false-alarm`."""
        said = self._feedback.get((alarm_id, "judgement"))
        return None if said is None or said.action == "unjudge" else said.action

    def acted(self, alarm_id: str) -> str | None:
        """When somebody acted on it, ISO 8601."""
        said = self._feedback.get((alarm_id, "acted"))
        return None if said is None else said.at

    def acknowledgement(self, alarm: Alarm) -> Acknowledgement | None:
        """Who has seen the alarm; None: nobody since its asset was last set aside or came back.

        Judging and acting are seeing.
        """
        said = [self._feedback.get((alarm.id, kind)) for kind in ("acknowledge", "judgement", "acted")]
        answer = max((one for one in said if one is not None), key=lambda one: from_iso(one.at), default=None)
        seen = None if answer is None else Acknowledgement(answer.who, answer.at)
        state = self._alarms.get(alarm.id)
        if state is not None and (answer is None or from_iso(state.at) >= from_iso(answer.at)):
            if not state.acknowledged:
                return None
            return seen or Acknowledgement(state.who, state.at)
        if answer is not None and from_iso(answer.at) <= self._came_back_at(alarm.asset):
            return None
        return seen

    def set_aside(self, asset: str) -> SetAside | None:
        """Why nobody is told of the asset's alarms now."""
        return self._said_aside(asset) or self._planned_aside(asset)

    def _planned_aside(self, asset: str) -> SetAside | None:
        """By the calendar, unless a person had the asset back in the same window."""
        window = None if self._planner is None else self._planner.at(asset, self._clock())
        if window is None:
            return None
        change = self._assets.get(asset)
        lifted = change is not None and change.state == "normal" and change.who != FORWARDER
        came_back = max(self._came_back_at(asset), from_iso(change.at) if change is not None and lifted else -math.inf)
        return None if came_back >= window.begin else SetAside(asset, "planned", CALENDAR, window.what, window.until)

    def _said_aside(self, asset: str) -> SetAside | None:
        said = [self._feedback.get((asset, kind)) for kind in ("out-of-service", "shelve")]
        newest = max((from_iso(one.at) for one in said if one is not None), default=-math.inf)
        change = self._assets.get(asset)
        if change is not None and from_iso(change.at) >= newest:
            return None if change.state == "normal" else self._lasting(asset, change.state, change, change.why)
        service, shelved = said
        if service is not None and service.action == "out-of-service":
            return self._lasting(asset, "out-of-service", service, service.reason)
        if shelved is not None and shelved.action == "shelve":
            return self._lasting(asset, "shelved", shelved, shelved.reason)
        return None

    def some_shelving_ended(self) -> bool:
        """Whether one ended since the last call, or a window of the calendar began or ended: by the clock, without any
        message."""
        before, self._looked_at = self._looked_at, self._clock()
        ends = [from_iso(change.until) for change in self._assets.values() if change.until is not None]
        ends += [from_iso(one.until) for one in self._feedback.values() if one.until is not None]
        windows, known = self._windows, frozenset() if self._planner is None else self._planner.active(self._looked_at)
        self._windows = known
        return windows != known or any(before < end <= self._looked_at for end in ends)

    def all_set_aside(self, assets: Iterable[str] = ()) -> list[SetAside]:
        """Every asset that is set aside, by its name. `assets`: all that are known; the calendar may be about them."""
        names = set(assets) if self._windows else set()
        names |= set(self._assets) | {name for name, kind in self._feedback if kind in ("shelve", "out-of-service")}
        return [found for name in sorted(names) if (found := self.set_aside(name)) is not None]

    def _lasting(self, asset: str, state: str, said: AlarmStateChange | Feedback, why: str | None) -> SetAside | None:
        until = None if state != "shelved" or said.until is None else from_iso(said.until)
        if until is not None and until <= self._clock():
            return None
        if said.who == CALENDAR and state == "shelved":
            state, why = "planned", (why or "").partition(": ")[2]
        return SetAside(asset, state, said.who, why or "", until)

    def _came_back_at(self, asset: str) -> float:
        lifted = [self._feedback.get((asset, kind)) for kind in ("shelve", "out-of-service")]
        return max(
            (from_iso(one.at) for one in lifted if one is not None and one.action in ("unshelve", "in-service")),
            default=-math.inf,
        )
