"""A line of a table of bundles as a place to renew: its assets alone are read, and its line alone changes in the log.

Lines of one table are renewed beside each other: each has a journal of its own, and what concerns another line is
neither looked at nor waited for.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from stream_detector.bundle.registry import LineChange, Registry
from stream_detector.decoding.asset_table import AssetTable
from stream_detector.decoding.control_records import Order
from stream_detector.decoding.held_table import HeldTable
from stream_detector.errors import UsageError
from stream_detector.messages import RenewalDecision, from_iso
from stream_detector.names import listed
from trainer.renewal.promotion import WHO, OvertakenError

log = logging.getLogger(__name__)

LONGEST_NAME = 200
"""Of a file; a longer one is cut, and ends in a hash."""

ANY_OTHER = "0" * 16
"""The id of no bundle."""


@dataclass(frozen=True)
class GroupTable:
    """The table of a group, and the log in which its lines change.

    Attributes:
        group: its name.
        read: the table of each of its partitions; none where it decides by one bundle, or nobody has begun.
        write: (order, just_before) announces the bundle, waits, calls back, writes the switch.
    """

    group: str
    read: Callable[[], Sequence[HeldTable]]
    write: Callable[[Order, Callable[[], None]], object]

    def held(self) -> HeldTable | None:
        """The table by which most partitions are decided: a change of it may not have come to all of them."""
        tables = self.read()
        counts = Counter(tuple(held.in_force) for held in tables)
        return max(tables, key=lambda held: counts[tuple(held.in_force)], default=None)


class TableLine:
    """The line with the glob `assets`.

    Args:
        registry: where bundles and changes of lines are kept.
        assets: the glob, as the table has it.
        champion: the group whose line it is.
        challenger: that beside it.
        tries: candidates decide beside the champion before they are promoted, so a challenger has to be there.
    """

    def __init__(
        self, registry: Registry, assets: str, champion: GroupTable, challenger: GroupTable, *, tries: bool = False
    ) -> None:
        self._registry = registry
        self._assets = assets
        self._champion = champion
        self._challenger = challenger
        self._tries = tries
        self._owner: str | None = None
        self._table = AssetTable([])
        self.names: Mapping[str, str] = {"group": champion.group, "assets": assets}
        self.journal = registry.folder / "renewals" / _file_name(champion.group) / f"{_file_name(assets)}.jsonl"

    def look(self) -> None:
        """See `Place`."""
        group, held = self._champion.group, self._champion.held()
        if held is None:
            raise UsageError(
                f"--assets {self._assets}: group {group} decides by one bundle, and has no lines; without --assets the "
                "alias of that bundle is renewed"
            )
        owner = held.owner_of(self._assets)
        if owner is None:
            lines = listed([repr(glob) for glob, _ in held.in_force])
            raise UsageError(
                f"--assets {self._assets}: the table of group {group} has no such line; it has {lines}. "
                "`stream-detector promote BUNDLE --assets GLOB` puts a line in"
            )
        try:
            self._table = AssetTable((glob, ANY_OTHER if glob != self._assets else owner) for glob, _ in held.in_force)
        except ValueError:
            raise UsageError(
                f"--assets {self._assets}: another line of the table of group {group} is equally specific and fits "
                "some of its assets, so it could not name another bundle; make one of the two more specific"
            ) from None
        self._owner = owner
        if self._tries and self._challenger.held() is None:
            raise UsageError(
                f"--assets {self._assets}: group {self._challenger.group} runs no table of bundles, so no candidate "
                "can be tried beside the champion; start a worker with --role challenger and a table of this line "
                "(docs/operators.md), or give --trial-days 0"
            )

    def champion(self) -> str | None:
        """See `Place`."""
        return self._owner

    def decides(self, asset: str) -> bool:
        """See `Place`: the most specific line counts."""
        return self._owner is not None and self._table.owner(asset) == self._owner

    def promote(self, decision: RenewalDecision) -> str | None:
        """See `Place`."""
        return self._change(self._champion, decision, decision.champion)

    def challenge(self, decision: RenewalDecision) -> None:
        """See `Place`: the line of the challenger's table, also where it had none. Without a table nothing is done."""
        if self._challenger.held() is None:
            log.warning(
                "group %s runs no table of bundles, so %s decides beside no champion: start a worker with --role "
                "challenger and a table that has a line %r", self._challenger.group, decision.candidate, self._assets,
            )  # fmt: skip
            return
        said = self._change(self._challenger, decision)
        if said is not None:
            log.warning("%s does not become the challenger for %r: %s", decision.candidate, self._assets, said)

    def why_over(self, trial: RenewalDecision) -> str | None:
        """See `Place`."""
        if self._owner != trial.champion:
            return f"{self._owner} decides for {self._assets!r} meanwhile"
        last, held = self._last(self._challenger.group), self._challenger.held()
        said = None if last is None else last.bundle
        beside = None if held is None else held.owner_of(self._assets)
        # The registry is ahead of workers that do not run.
        over = trial.candidate not in (said, beside)
        return f"{said or beside} is the challenger for {self._assets!r} meanwhile" if over else None

    def _change(self, table: GroupTable, decision: RenewalDecision, instead_of: str | None = None) -> str | None:
        """The line names the decision's candidate; None, or why not. The registry is told first: who changes the line
        while it is written into the log finds that there, and a run that was killed in between writes it again."""
        candidate, before = str(decision.candidate), self._last(table.group)
        mine = _is_of(before, decision)
        if not mine and any(_is_of(change, decision) for change in self._registry.lines(table.group, self._assets)):
            return None  # it was done, and somebody has gone on from there
        held = table.held()
        now = None if held is None else held.owner_of(self._assets)
        if not mine:
            later = before is not None and from_iso(before.at) > from_iso(decision.at)
            if later or (instead_of is not None and now not in (instead_of, candidate)):
                return self._said(before if later else None, now)
            if now == candidate:
                return None

        def just_before() -> None:
            # While workers fetched the bundle, a person may have decided otherwise.
            if self._last(table.group) != before:
                raise OvertakenError
            if not mine:
                self._registry.change_line(
                    table.group,
                    LineChange(
                        at=decision.at, who=WHO, what="promoted", assets=self._assets, bundle=candidate,
                        instead_of=now, why=decision.why,
                    ),
                )  # fmt: skip

        order = Order("", table.group, candidate, decision.at, WHO, decision.why, self._assets)
        try:
            table.write(order, just_before)
        except OvertakenError:
            return self._said(self._last(table.group), None)
        return None

    def _last(self, group: str) -> LineChange | None:
        changes = self._registry.lines(group, self._assets)
        return changes[-1] if changes else None

    def _said(self, change: LineChange | None, now: str | None) -> str:
        who = "somebody" if change is None else change.who
        bundle = now if change is None else change.bundle
        if bundle is None:
            return f"meanwhile {who} took the line {self._assets!r} out, so that stays"
        return f"meanwhile {who} let {bundle} decide for {self._assets!r}, so it stays"


def _is_of(change: LineChange | None, decision: RenewalDecision) -> bool:
    wanted = ("promoted", decision.candidate, decision.at, WHO)
    return change is not None and (change.what, change.bundle, change.at, change.who) == wanted


def _file_name(text: str) -> str:
    name = quote(text, safe="")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
