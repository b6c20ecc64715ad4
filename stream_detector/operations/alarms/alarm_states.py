"""Alarm states as ISA-18.2 / IEC 62682 define them, and who changed them when and why. Pure: time is an argument.

An alarm is *unacknowledged* when raised. A person acknowledges it; the plant clears it. Cleared before anybody
acknowledged it, it is *returned* (to normal, unacknowledged) until somebody does; else it is *normal* and over.
Beside that, an asset may be *shelved* by a person, for a reason and until a time, or taken *out of service* for a
reason: its alarms are then set aside and nobody is told, and those still up when it comes back start again as
unacknowledged.

Every call is idempotent: the same message twice changes nothing the second time, so topics may be read again after a
restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from stream_detector.messages import (
    MOST_SHELVED_SECONDS,
    Alarm,
    AlarmState,
    AlarmStateChange,
    Feedback,
    Priority,
    from_iso,
    to_iso,
)
from stream_detector.operations.alarms.priority import priority_of

DETECTOR = "detector"
FORWARDER = "forwarder"

SetAside = Literal["shelved", "out-of-service"]


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why an asset's alarms are set aside now. `until` is epoch seconds; out of service has no end."""

    state: SetAside
    who: str
    why: str
    until: float | None


@dataclass(slots=True)
class AlarmStatus:
    """One alarm: `up` is the plant's side, `state` includes the people's; `raised_at` is epoch seconds, event time."""

    id: str
    asset: str
    priority: Priority
    raised_at: float
    up: bool = True
    acknowledged: bool = False
    state: AlarmState = "normal"


@dataclass(frozen=True, slots=True)
class _Ended:
    """The alarm that was cleared last; one that is raised from `earliest` to `latest` (epoch seconds, event time) goes
    on from it."""

    id: str
    earliest: float
    latest: float


@dataclass(slots=True)
class _Asset:
    suppression: Suppression | None = None
    # When the newest suppression or its lifting was said; what is said to have happened before that comes too late to
    # count.
    said_at: float = float("-inf")
    alarms: dict[str, AlarmStatus] = field(default_factory=dict)
    # Feedback on alarms not seen yet: the two topics are read side by side, and either may be ahead.
    early: dict[str, Feedback] = field(default_factory=dict)
    ended: _Ended | None = None


class AlarmBook:
    """All alarms that are not over, by asset; every method returns the changes that it made.

    Args:
        remember: alarms that are over and kept in mind per asset, so that a repeat of their messages is recognised.
    """

    def __init__(self, remember: int = 1_000) -> None:
        self._assets: dict[str, _Asset] = {}
        self._remember = remember

    def suppression(self, asset: str) -> Suppression | None:
        """Why the alarms of this asset are set aside, or None."""
        known = self._assets.get(asset)
        return known.suppression if known else None

    def open_alarms(self) -> list[AlarmStatus]:
        """Alarms in any state but normal."""
        return [alarm for asset in self._assets.values() for alarm in asset.alarms.values() if alarm.state != "normal"]

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
        ended = asset.ended
        return ended.id if ended.earliest <= from_iso(alarm.raised_at) <= ended.latest else None

    def renewable(self) -> set[str]:
        """Ids of the alarms that were cleared last, each of its asset."""
        return {asset.ended.id for asset in self._assets.values() if asset.ended is not None}

    def take_alarm(self, alarm: Alarm, now: float) -> list[AlarmStateChange]:
        """The detector raised or cleared an alarm; `now` is epoch seconds of the wall clock."""
        asset = self._assets.setdefault(alarm.asset, _Asset())
        known = asset.alarms.get(alarm.id)
        changes: list[AlarmStateChange] = []
        why: str = alarm.state
        if known is None:
            known = AlarmStatus(alarm.id, alarm.asset, priority_of(alarm), from_iso(alarm.raised_at), up=True)
            before = asset.alarms.get(self.renewal_of(alarm) or "")
            if before is not None:
                why = f"renewal of {before.id}"
                known.acknowledged, before.acknowledged = before.acknowledged, True
                changes += self._settle(before, asset, now, DETECTOR, f"renewed as {alarm.id}")
            asset.alarms[alarm.id] = known
            self._forget_oldest(asset)
        elif alarm.state == "raised":
            return []
        known.up = alarm.state == "raised"
        if not known.up:
            cleared = from_iso(alarm.cleared_at or alarm.raised_at)
            lead = from_iso(alarm.expected_until) - from_iso(alarm.expected_from)
            asset.ended = _Ended(alarm.id, cleared, cleared + lead)
        changes += self._settle(known, asset, now, DETECTOR, why)
        early = asset.early.pop(alarm.id, None)
        return changes if early is None else changes + self.take_feedback(early)

    def take_feedback(self, feedback: Feedback) -> list[AlarmStateChange]:
        """A person acted. Who judges an alarm (`real`, `false-alarm`) has seen it: that acknowledges it too."""
        asset = self._assets.setdefault(feedback.asset, _Asset())
        at = from_iso(feedback.at)
        why = feedback.reason or feedback.action
        match feedback.action:
            case "acknowledge" | "real" | "false-alarm":
                alarm_id = feedback.alarm or ""
                known = asset.alarms.get(alarm_id)
                if known is None:
                    asset.early[alarm_id] = feedback
                    while len(asset.early) > self._remember:
                        del asset.early[next(iter(asset.early))]
                    return []
                if known.acknowledged:
                    return []
                known.acknowledged = True
                return self._settle(known, asset, at, feedback.who, why)
            case "shelve" | "out-of-service":
                until = None if feedback.until is None else from_iso(feedback.until)
                state: SetAside = "shelved" if feedback.action == "shelve" else "out-of-service"
                if state == "shelved" and asset.suppression and asset.suppression.state == "out-of-service":
                    return []
                suppression = Suppression(state, feedback.who, why, until if state == "shelved" else None)
                return self._set_aside(feedback.asset, suppression, at, feedback.who, why)
            case "unshelve" | "in-service":
                wanted: SetAside = "shelved" if feedback.action == "unshelve" else "out-of-service"
                if asset.suppression is None or asset.suppression.state != wanted:
                    return []
                return self._set_aside(feedback.asset, None, at, feedback.who, why)

    def tick(self, now: float) -> list[AlarmStateChange]:
        """Ends the shelvings whose time is over."""
        changes = []
        for name, asset in self._assets.items():
            shelved = asset.suppression
            if shelved is not None and shelved.until is not None and shelved.until <= now:
                changes += self._set_aside(name, None, shelved.until, FORWARDER, "the shelving ended")
        return changes

    def restore(self, changes: Iterable[AlarmStateChange]) -> None:
        """Brings back the state after these changes, in the order of the topic; for a start."""
        for change in changes:
            asset = self._assets.setdefault(change.asset, _Asset())
            at = from_iso(change.at)
            if change.alarm is None:
                asset.said_at = at
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

    def _set_aside(
        self, name: str, suppression: Suppression | None, at: float, who: str, why: str
    ) -> list[AlarmStateChange]:
        asset = self._assets[name]
        if at < asset.said_at or asset.suppression == suppression:
            return []
        before: AlarmState = asset.suppression.state if asset.suppression else "normal"
        asset.suppression, asset.said_at = suppression, at
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
        changes = [change]
        for alarm in asset.alarms.values():
            if alarm.state == "normal":
                continue
            if suppression is None:
                # Whoever acknowledged it before it was set aside may be home by now.
                alarm.acknowledged = False
            changes += self._settle(alarm, asset, at, who, why)
        return changes

    def _settle(self, alarm: AlarmStatus, asset: _Asset, at: float, who: str, why: str) -> list[AlarmStateChange]:
        before, alarm.state = alarm.state, _state_of(alarm, asset.suppression)
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
            )
        ]

    def _forget_oldest(self, asset: _Asset) -> None:
        if len(asset.alarms) <= self._remember:
            return
        oldest = next((alarm for alarm in asset.alarms.values() if alarm.state == "normal"), None)
        if oldest is not None:
            del asset.alarms[oldest.id]


def _state_of(alarm: AlarmStatus, suppression: Suppression | None) -> AlarmState:
    if not alarm.up and (alarm.acknowledged or suppression is not None):
        return "normal"
    if suppression is not None:
        return suppression.state
    if alarm.up:
        return "acknowledged" if alarm.acknowledged else "unacknowledged"
    return "returned"
