"""Alarm states as ISA-18.2 / IEC 62682 define them, and who changed them when and why. Pure: time is an argument.

An alarm is *unacknowledged* when raised. A person acknowledges it; the plant clears it. Cleared before anybody
acknowledged it, it is *returned* (to normal, unacknowledged) until somebody does; else it is *normal* and over.
One that is *held back* is set aside by itself: nobody is told of it, and nobody has to acknowledge it.
Beside that, an asset may be *shelved* by a person, for a reason and until a time, or taken *out of service* for a
reason: its alarms are then set aside and nobody is told, and those still up when it comes back start again as
unacknowledged. The calendar of maintenance shelves too, for as long as a window lasts, unless a person says otherwise.

Every call is idempotent: the same message twice changes nothing the second time, so topics may be read again after a
restart. That holds between any two changes too: a book that is restored from the first few changes of a call, and is
given the message again, makes the rest of them. So what decides a change must be found in the changes before it, or in
what was said before them (`note_said`). What people say counts by the time at which they said it, in whatever order it
arrives: of two who shelve an asset and have it back, the later one is obeyed.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from stream_detector.messages import (
    LATEST,
    MOST_SHELVED_SECONDS,
    Alarm,
    AlarmState,
    AlarmStateChange,
    Feedback,
    FeedbackAction,
    Priority,
    from_iso,
    to_iso,
)
from stream_detector.operations.alarms.priority import priority_of
from stream_detector.operations.downtime.planned import Planned, Planner

CALENDAR = "calendar"
"""Who shelves assets that are down by plan."""

DETECTOR = "detector"
FORWARDER = "forwarder"

SetAside = Literal["shelved", "out-of-service"]

SAYS: dict[FeedbackAction, SetAside] = {
    "shelve": "shelved",
    "unshelve": "shelved",
    "out-of-service": "out-of-service",
    "in-service": "out-of-service",
}
"""What each action is about that sets an asset aside, or has it back."""


class Suppression(Struct, frozen=True):
    """Why an asset's alarms are set aside now. `until` is epoch seconds; out of service has no end."""

    state: SetAside
    who: str
    why: str
    until: float | None


class AlarmStatus(Struct):
    """One alarm: `up` is the plant's side, `state` includes the people's; times are epoch seconds, event time.

    `acknowledged`: a person has seen it, and said so at `acknowledged_at`; never true for another reason. `over`: it
    was normal once, or another goes on from it, and nothing changes it any more. `cleared_at` and `covered_until` are
    known once it is cleared: an alarm raised from the one to the other goes on from it.
    """

    id: str
    asset: str
    priority: Priority
    raised_at: float
    up: bool = True
    acknowledged: bool = False
    acknowledged_at: float = float("-inf")
    state: AlarmState = "normal"
    over: bool = False
    cleared_at: float | None = None
    covered_until: float | None = None
    held_back: bool = False


class _Asset(Struct):
    suppression: Suppression | None = None
    # When the newest suppression or its lifting was said; what is said to have happened before that comes too late to
    # count.
    said_at: float = float("-inf")
    # When people said the newest about shelving, and about service, also where that changed nothing.
    newest: dict[SetAside, float] = field(default_factory=dict)
    # When a person last had it back; the calendar does not shelve it again in the same window.
    lifted_at: float = float("-inf")
    alarms: dict[str, AlarmStatus] = field(default_factory=dict)
    # Feedback on alarms not seen yet: the two topics are read side by side, and either may be ahead.
    early: dict[str, Feedback] = field(default_factory=dict)
    # The alarm that was cleared last.
    ended: AlarmStatus | None = None


class AlarmBook:
    """All alarms that are not over, by asset; every method returns the changes that it made.

    Args:
        remember: alarms that are over and kept in mind per asset, so that a repeat of their messages is recognised.
        planner: knows when assets are down by plan; None: there is no calendar.
    """

    def __init__(self, remember: int = 1_000, planner: Planner | None = None) -> None:
        self._assets: dict[str, _Asset] = {}
        self._remember = remember
        self._planner = planner

    def suppression(self, asset: str, now: float) -> Suppression | None:
        """Why the alarms of this asset are set aside (`now`: epoch seconds), or None."""
        known = self._assets.get(asset, _Asset())
        if known.suppression is not None:
            return known.suppression
        # The calendar counts also where nothing was published yet, as for the first alarm of an asset.
        window = self._planned(asset, known, now)
        return None if window is None else _shelving(window, now)

    def open_alarms(self) -> list[AlarmStatus]:
        """Alarms that are up or that nobody has acknowledged, but for those that are held back."""
        known = (alarm for asset in self._assets.values() for alarm in asset.alarms.values())
        return [alarm for alarm in known if alarm.state not in ("normal", "held-back")]

    def suppressed_assets(self, state: SetAside) -> list[str]:
        """Names of the assets that are shelved, or out of service."""
        return sorted(
            name for name, asset in self._assets.items() if asset.suppression and asset.suppression.state == state
        )

    def renewal_of(self, alarm: Alarm) -> str | None:
        """The id of the alarm that a new one goes on from: no step between what the two speak of is left out."""
        asset = self._assets.get(alarm.asset)
        if asset is None or asset.ended is None:
            return None
        earliest, latest = asset.ended.cleared_at, asset.ended.covered_until
        if earliest is None or latest is None:
            return None
        return asset.ended.id if earliest <= from_iso(alarm.raised_at) <= latest else None

    def renewable(self) -> set[str]:
        """Ids of the alarms that were cleared last, each of its asset."""
        return {asset.ended.id for asset in self._assets.values() if asset.ended is not None}

    def take_alarm(self, alarm: Alarm, now: float) -> list[AlarmStateChange]:
        """The detector raised or cleared an alarm; `now` is epoch seconds of the wall clock."""
        asset = self._assets.setdefault(alarm.asset, _Asset())
        known = asset.alarms.get(alarm.id)
        changes = [*self._end_shelving(alarm.asset, now), *self._begin_planned(alarm.asset, now)]
        why: str = alarm.state
        if known is None:
            if alarm.state == "cleared" and asset.suppression is not None:
                return changes  # over and set aside: no change would be published, so a restart would not know of it
            raised_at = from_iso(alarm.raised_at)
            known = AlarmStatus(
                alarm.id, alarm.asset, priority_of(alarm), raised_at, up=True, held_back=alarm.held_back
            )
            before = asset.alarms.get(self.renewal_of(alarm) or "")
            if before is not None:
                why = f"renewal of {before.id}"
                known.acknowledged, known.acknowledged_at = before.acknowledged, before.acknowledged_at
                before.over = True
                changes += self._settle(before, asset, now, DETECTOR, f"renewed as {alarm.id}")
            asset.alarms[alarm.id] = known
            self._forget_oldest(asset)
        elif alarm.state == "raised":
            return changes
        was_up, known.up = known.up, alarm.state == "raised"
        if was_up and not known.up:
            known.cleared_at = from_iso(alarm.cleared_at or alarm.raised_at)
            lead = from_iso(alarm.expected_until) - from_iso(alarm.expected_from)
            known.covered_until = min(known.cleared_at + lead, LATEST - 1.0)
            asset.ended = known
        changes += self._settle(known, asset, now, DETECTOR, why)
        early = asset.early.pop(alarm.id, None)
        return changes if early is None else changes + self.take_feedback(early)

    def take_feedback(self, feedback: Feedback) -> list[AlarmStateChange]:
        """A person acted. Who judges an alarm (`real`, `false-alarm`) has seen it: that acknowledges it too."""
        asset = self._assets.setdefault(feedback.asset, _Asset())
        at = from_iso(feedback.at)
        # What was said after a shelving was over is not part of it, also where both are taken in one go.
        return self._end_shelving(feedback.asset, at) + self._take_feedback(feedback, asset, at)

    def _take_feedback(self, feedback: Feedback, asset: _Asset, at: float) -> list[AlarmStateChange]:
        why = feedback.reason or feedback.action
        match feedback.action:
            case "acted" if feedback.alarm is None:
                return []  # a signal of the plant: the ledger finds the alarms that it belongs to
            case "acknowledge" | "real" | "false-alarm" | "acted":
                alarm_id = feedback.alarm or ""
                known = asset.alarms.get(alarm_id)
                if known is None:
                    earlier = asset.early.get(alarm_id, feedback)
                    asset.early[alarm_id] = max(earlier, feedback, key=lambda said: from_iso(said.at))
                    while len(asset.early) > self._remember:
                        del asset.early[next(iter(asset.early))]
                    return []
                # What was said before the asset was set aside, or came back, does not count after it.
                if known.over or at <= asset.said_at:
                    return []
                known.acknowledged, known.acknowledged_at = True, max(known.acknowledged_at, at)
                return self._settle(known, asset, at, feedback.who, why)
            case "unjudge":
                return []  # it was seen all the same
            case _:
                return self._take_suppression(feedback, asset, at) if self.note_said(feedback) else []

    def _take_suppression(self, feedback: Feedback, asset: _Asset, at: float) -> list[AlarmStateChange]:
        now, about, name = asset.suppression, SAYS[feedback.action], feedback.asset
        why = feedback.reason or feedback.action
        if feedback.action in ("unshelve", "in-service"):
            if now is None or now.state != about:
                return []
            return self._set_aside(name, None, at, feedback.who, why)
        if about == "shelved" and now is not None and now.state == "out-of-service":
            return []
        until = None if about == "out-of-service" or feedback.until is None else from_iso(feedback.until)
        return self._set_aside(name, Suppression(about, feedback.who, why, until), at, feedback.who, why)

    def note_said(self, feedback: Feedback) -> bool:
        """Whether this is the newest that was said about shelving its asset, or about its service; repeats are not.

        A restart notes what was taken before: what changed nothing is not found among the changes.
        """
        kind = SAYS.get(feedback.action)
        if kind is None:
            return False
        newest, at = self._assets.setdefault(feedback.asset, _Asset()).newest, from_iso(feedback.at)
        if at <= newest.get(kind, float("-inf")):
            return False
        newest[kind] = at
        return True

    def tick(self, now: float) -> list[AlarmStateChange]:
        """Ends the shelvings whose time is over, and begins those of the calendar."""
        return [
            change
            for name in self._assets
            for change in (*self._end_shelving(name, now), *self._begin_planned(name, now))
        ]

    def _planned(self, name: str, asset: _Asset, now: float) -> Planned | None:
        """The window of the calendar that holds for the asset, unless a person had it back in it."""
        window = None if self._planner is None else self._planner.at(name, now)
        return None if window is None or asset.lifted_at >= window.begin else window

    def _begin_planned(self, name: str, now: float) -> list[AlarmStateChange]:
        asset = self._assets[name]
        window = None if asset.suppression is not None else self._planned(name, asset, now)
        if window is None:
            return []
        # As of the window's beginning, so that it is the same change whenever somebody comes to look.
        begin = max(window.begin, asset.said_at)
        begin = begin if now < begin + MOST_SHELVED_SECONDS else now
        shelving = _shelving(window, begin)
        return self._set_aside(name, shelving, begin, shelving.who, shelving.why)

    def _end_shelving(self, name: str, now: float) -> list[AlarmStateChange]:
        shelved = self._assets[name].suppression
        if shelved is None or shelved.until is None or shelved.until > now:
            return []
        return self._set_aside(name, None, shelved.until, FORWARDER, "the shelving ended")

    def restore(self, changes: Iterable[AlarmStateChange]) -> None:
        """Brings back the state after these changes, in the order of the topic; for a start."""
        for change in changes:
            asset = self._assets.setdefault(change.asset, _Asset())
            at = from_iso(change.at)
            if change.alarm is None:
                asset.said_at = at
                if change.state == "normal" and change.who != FORWARDER:
                    asset.lifted_at = at
                asset.suppression = None
                if change.state in ("shelved", "out-of-service"):
                    state: SetAside = "shelved" if change.state == "shelved" else "out-of-service"
                    until = None if change.until is None else from_iso(change.until)
                    if state == "shelved":
                        # Earlier versions took any end, also one thousands of years away.
                        latest = at + MOST_SHELVED_SECONDS
                        until = latest if until is None else min(until, latest)
                    asset.suppression = Suppression(state, change.who, change.why, until)
                continue
            known = asset.alarms.get(change.alarm)
            if known is None:
                raised_at = at if change.raised_at is None else from_iso(change.raised_at)
                known = AlarmStatus(change.alarm, change.asset, change.priority or "medium", raised_at)
                asset.alarms[change.alarm] = known
                self._forget_oldest(asset)
            known.up, known.acknowledged, known.state = bool(change.up), bool(change.acknowledged), change.state
            if change.state == "acknowledged":
                renewed = asset.alarms.get(change.why.removeprefix("renewal of "))
                known.acknowledged_at = at if renewed is None else renewed.acknowledged_at
            known.held_back |= change.state == "held-back"
            known.over = change.state == "normal"
            if change.cleared_at is not None and change.covered_until is not None:
                known.cleared_at, known.covered_until = from_iso(change.cleared_at), from_iso(change.covered_until)
                if change.previous != "returned":
                    asset.ended = known  # the change that its clearing made, and no later one

    def _set_aside(
        self, name: str, suppression: Suppression | None, at: float, who: str, why: str
    ) -> list[AlarmStateChange]:
        asset = self._assets[name]
        if at < asset.said_at or asset.suppression == suppression:
            return []
        before: AlarmState = asset.suppression.state if asset.suppression else "normal"
        asset.suppression, asset.said_at = suppression, at
        if suppression is None and who != FORWARDER:
            asset.lifted_at = at
        change = AlarmStateChange(
            asset=name,
            alarm=None,
            state=suppression.state if suppression else "normal",
            previous=before,
            at=to_iso(at),
            who=who,
            why=why,
            until=None if suppression is None or suppression.until is None else to_iso(suppression.until),
        )
        changes = []
        for alarm in asset.alarms.values():
            if alarm.over:
                continue
            if suppression is None and alarm.acknowledged_at <= at:
                # Whoever acknowledged it before it was set aside may be home by now.
                alarm.acknowledged = False
            changes += self._settle(alarm, asset, at, who, why)
        # The asset comes last: whoever finds this change knows that its alarms have theirs.
        return [*changes, change]

    def _settle(self, alarm: AlarmStatus, asset: _Asset, at: float, who: str, why: str) -> list[AlarmStateChange]:
        before, alarm.state = alarm.state, _state_of(alarm, asset.suppression)
        alarm.over = alarm.state == "normal"
        if alarm.state == before:
            return []
        return [
            AlarmStateChange(
                asset=alarm.asset,
                alarm=alarm.id,
                state=alarm.state,
                previous=before,
                priority=alarm.priority,
                at=to_iso(at),
                who=who,
                why=why,
                up=alarm.up,
                acknowledged=alarm.acknowledged,
                raised_at=to_iso(alarm.raised_at),
                cleared_at=None if alarm.cleared_at is None else to_iso(alarm.cleared_at),
                covered_until=None if alarm.covered_until is None else to_iso(alarm.covered_until),
            )
        ]

    def _forget_oldest(self, asset: _Asset) -> None:
        if len(asset.alarms) <= self._remember:
            return
        oldest = next((alarm for alarm in asset.alarms.values() if alarm.state == "normal"), None)
        if oldest is not None:
            del asset.alarms[oldest.id]


def _shelving(window: Planned, begin: float) -> Suppression:
    """A window as a shelving; one that lasts for longer than a shelving may is begun anew when that is over."""
    why = f"planned downtime until {to_iso(window.until)[:16].replace('T', ' ')} UTC"
    why = f"{why}: {window.what}" if window.what else why
    return Suppression("shelved", CALENDAR, why, min(window.until, begin + MOST_SHELVED_SECONDS))


def _state_of(alarm: AlarmStatus, suppression: Suppression | None) -> AlarmState:
    if alarm.over or (not alarm.up and (alarm.acknowledged or alarm.held_back or suppression is not None)):
        return "normal"
    if alarm.held_back:
        return "held-back"
    if suppression is not None:
        return suppression.state
    if alarm.up:
        return "acknowledged" if alarm.acknowledged else "unacknowledged"
    return "returned"
