"""Carries out that an alias is to stand for a candidate, by the alias alone or in the log of its group too.

Every step does nothing the second time, so a run that was killed is finished by calling this again. What a person did
to the alias meanwhile stays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from stream_detector.bundle.registry import AliasChange, Registry
from stream_detector.decoding.control_records import Order
from stream_detector.messages import RenewalDecision

WHO = "trainer renew"

Way = Literal["auto", "log", "alias"]
"""How workers change over: `log`, by a control record; `alias`, by the alias alone; `auto`, as was done last."""


@dataclass(frozen=True)
class GroupLog:
    """The log of a group. `write(order, just_before)` announces the bundle, waits, calls back, writes the switch."""

    group: str
    write: Callable[[Order, Callable[[], None]], object]


class Promotions:
    """Promotes bundles of a registry. `logs`: by alias, where readings can be written to."""

    def __init__(self, registry: Registry, way: Way = "alias", logs: Mapping[str, GroupLog] | None = None) -> None:
        self._registry = registry
        self._way = way
        self._logs = dict(logs or {})

    def group_of(self, alias: str) -> str | None:
        """The group that is to change over in its log with this alias; None = the alias alone moves."""
        log = self._log_of(alias)
        return None if log is None else log.group

    def promote(self, alias: str, decision: RenewalDecision, instead_of: str | None = None) -> str | None:
        """The alias stands for the decision's candidate; None, or why it does not: somebody has changed it meanwhile.

        Args:
            alias: may stand for nothing yet.
            decision: what was written down.
            instead_of: what the alias has to stand for until then; None = whatever it may be.

        Raises:
            BrokerError: not every partition of the log took its record; call it again.
        """
        before = self._last(alias)
        done = any(_is_of(change, decision) for change in self._registry.changes(alias))
        if done and not _is_of(before, decision):
            return None  # it was done, and somebody has gone on from there
        log, candidate = self._log_of(alias), str(decision.candidate)
        if done:
            # As it was begun.
            log = None if before is None or before.group is None else log
        else:
            now = None if before is None else before.bundle
            if instead_of is not None and now not in (instead_of, candidate):
                return _said(alias, before)
            if now == candidate:
                return None
        try:
            if log is None:
                self._move(alias, decision, before, None)
            else:
                order = Order("", log.group, candidate, decision.at, WHO, decision.why)
                # Killed between the alias and the last record, it is done again: a switch to the bundle that decides
                # already changes nothing.
                log.write(order, lambda: self._move(alias, decision, before, log.group))
        except OvertakenError:
            return _said(alias, self._last(alias))
        return None

    def _move(self, alias: str, decision: RenewalDecision, before: AliasChange | None, group: str | None) -> None:
        # While workers fetched the bundle, a person may have decided otherwise.
        if self._last(alias) != before:
            raise OvertakenError
        if not _is_of(before, decision):
            self._registry.promote(alias, str(decision.candidate), decision.at, WHO, decision.why, group)

    def _log_of(self, alias: str) -> GroupLog | None:
        log, last = self._logs.get(alias), self._last(alias)
        if log is None or self._way == "alias":
            return None
        follows = last is not None and last.group == log.group
        # A worker of the group may have been started by a path, and know no registry, until an alias says otherwise.
        return log if follows or (self._way == "log" and last is not None) else None

    def _last(self, alias: str) -> AliasChange | None:
        changes = self._registry.changes(alias)
        return changes[-1] if changes else None


class OvertakenError(Exception):
    """What is to change was changed by somebody else."""


def _is_of(change: AliasChange | None, decision: RenewalDecision) -> bool:
    wanted = ("promoted", decision.candidate, decision.at, WHO)
    return change is not None and (change.what, change.bundle, change.at, change.who) == wanted


def _said(alias: str, change: AliasChange | None) -> str:
    return "" if change is None else f"meanwhile {change.who} made {change.bundle} the {alias}, so it stays"
