"""What is renewed: a place that one bundle holds at a time, an alias of the registry or a line of a table.

The rounds are the same for both. What differs: who decides there now, whose data counts, where decisions are written
down, and how another bundle takes the place.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from stream_detector.bundle.registry import Registry
from stream_detector.messages import RenewalDecision
from trainer.renewal.promotion import Promotions


class Place(Protocol):
    """Every step may be done again, and then changes nothing. What a person did meanwhile stays."""

    @property
    def names(self) -> Mapping[str, str]:
        """Fields of `RenewalDecision` that say what is renewed; no two places have the same."""
        ...

    @property
    def journal(self) -> Path:
        """Where its decisions are written down."""
        ...

    def look(self) -> None:
        """Find out who decides now; the rest goes by that until it looks again.

        Raises:
            BrokerError: the brokers do not say.
            UsageError: there is nothing that could be renewed here, and what is to be given instead.
        """
        ...

    def champion(self) -> str | None:
        """What decides there now, as the registry names it; None = nothing yet."""
        ...

    def decides(self, asset: str) -> bool:
        """Whether the asset is one of those that are decided about there."""
        ...

    def promote(self, decision: RenewalDecision) -> str | None:
        """The decision's candidate decides there from now on; None, or why it does not.

        Raises:
            BrokerError: not everything took it; call it again.
        """
        ...

    def challenge(self, decision: RenewalDecision) -> None:
        """The decision's candidate decides beside it, where nobody is told of its alarms. Raises as `promote`."""
        ...

    def why_over(self, trial: RenewalDecision) -> str | None:
        """Why the trial of a candidate, or a proposal, is over by itself: somebody changed one of the two bundles."""
        ...


class AliasPlace:
    """An alias, and that of its challenger. `promotions`: lets them stand for bundles; None = without any log.

    `check`: raises where the champion's group decides by something else than a bundle that an alias may stand for.
    """

    def __init__(
        self,
        registry: Registry,
        alias: str = "champion",
        challenger: str = "challenger",
        promotions: Promotions | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._registry = registry
        self._alias = alias
        self._challenger = challenger
        self._promotions = promotions or Promotions(registry)
        self._check = check
        self.names: Mapping[str, str] = {"alias": alias}
        self.journal = registry.folder / "renewals" / f"{alias}.jsonl"

    def look(self) -> None:
        """See `Place`."""
        if self._check is not None:
            self._check()

    def champion(self) -> str | None:
        """See `Place`."""
        return self._alias if self._registry.changes(self._alias) else None

    def decides(self, asset: str) -> bool:
        """See `Place`: nothing tells an alias which assets its workers are allowed."""
        del asset
        return True

    def promote(self, decision: RenewalDecision) -> str | None:
        """See `Place`."""
        return self._promotions.promote(self._alias, decision, decision.champion)

    def challenge(self, decision: RenewalDecision) -> None:
        """See `Place`."""
        self._promotions.promote(self._challenger, decision)

    def why_over(self, trial: RenewalDecision) -> str | None:
        """See `Place`."""
        stand_for = {alias: change.bundle for alias, change in self._registry.aliases().items()}
        for alias, bundle in ((self._alias, trial.champion), (self._challenger, trial.candidate)):
            if stand_for.get(alias) != bundle:
                return f"{alias} stands for {stand_for.get(alias)} meanwhile"
        return None
