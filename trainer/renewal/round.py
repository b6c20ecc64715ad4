"""One round of renewal: look, fit, judge, register, decide, carry out, tell. It may be killed between any two of them.

What a round decided is written down in the registry before anything of it is carried out, and it is carried out by
steps that do nothing the second time: so a round that was killed is finished by the next, and none is done twice.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector.bundle import journal
from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.errors import BrokerError, DataError, StoreError, StreamDetectorError, UsageError
from stream_detector.messages import RenewalDecision, from_iso, to_iso
from trainer.backtesting.folds import LEARN_FIRST, SECONDS_PER_DAY, Fold
from trainer.data.dataset import Dataset
from trainer.data.usage import usable
from trainer.evaluation.score import bundle_recipe
from trainer.fitting.fit import Fitted, fit_recipe
from trainer.recipe import Recipe
from trainer.renewal.judging import Incumbent, Verdict, judge, learnt_until
from trainer.renewal.place import AliasPlace, Place
from trainer.renewal.policy import Outcome, Rules, decide, decide_by_book, why_due
from trainer.renewal.promotion import WHO

log = logging.getLogger(__name__)

Book = Callable[[str, float, float], Verdict | None]
"""(candidate, since, until in epoch seconds) -> what its alarms were worth beside the champion's."""


@dataclass(frozen=True)
class Plan:
    """What a renewal goes by.

    Attributes:
        recipe: to fit; None = the champion's own.
        look_seconds: rounds fall on whole multiples of it, event time.
        judge_seconds: how far back the judged time reaches.
        refit_seconds: between the fits of the judged time.
        window_seconds: how far back data is learnt from; None = all.
        until: event time, epoch seconds: what lies before it is there, and nothing later counts; None = up to the
            newest reading.
    """

    rules: Rules
    recipe: Recipe | None = None
    look_seconds: float = 86_400.0
    judge_seconds: float = 14 * 86_400.0
    refit_seconds: float = 86_400.0
    window_seconds: float | None = None
    until: float | None = None
    jobs: int = 1


class Renewal:
    """Rounds of renewal of one place.

    Args:
        registry: where bundles and decisions are kept.
        read: the plant's data up to now, as the recipe wants it.
        tell: publishes a decision; is called again with the same one after a crash.
        now: wall clock, epoch seconds.
        place: what is renewed; None = the aliases `champion` and `challenger`, and no log.
        book: of a candidate on trial; None = nobody knows.
        private_key: signs candidates; public_key: the champion must be signed by it.
        track: shows a candidate that was fitted, its folder, and what is written down about it, to others.
    """

    def __init__(
        self,
        registry: Registry,
        plan: Plan,
        read: Callable[[Recipe], Dataset],
        tell: Callable[[RenewalDecision], None],
        now: Callable[[], float],
        private_key: bytes | None = None,
        public_key: bytes | None = None,
        place: Place | None = None,
        book: Book | None = None,
        track: Callable[[Fitted, Path, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        self._registry = registry
        self.place = place or AliasPlace(registry)
        self._book = book
        self._track = track
        self._plan = plan
        self._read = read
        self._tell = tell
        self._now = now
        self._private_key = private_key
        self._public_key = public_key

    @property
    def of(self) -> str:
        """What is renewed, as decisions and metrics say it."""
        return "/".join(self.place.names.values())

    def last(self) -> RenewalDecision | None:
        """The newest decision that was written down."""
        decisions = _decisions(journal.read(self.place.journal))
        return decisions[-1] if decisions else None

    def waits(self) -> bool:
        """Whether what was decided last is a proposal that nobody has answered, as of the last look."""
        last = self.last()
        return last is not None and last.outcome == "proposed" and self.place.why_over(last) is None

    def run(self) -> RenewalDecision | None:
        """Finish what an earlier run left, then do a round if one is due; returns what was decided, None if nothing.

        Raises:
            BrokerError, StoreError: brokers or registry cannot be reached; nothing is decided.
            StreamDetectorError: registry, champion or recipe cannot be used.
        """
        decisions = self._finish_earlier()
        self.place.look()
        champion = self._champion()
        recipe = self._plan.recipe or (None if champion is None else bundle_recipe(champion.manifest))
        if recipe is None:
            raise DataError(
                f"alias {self.place.names['alias']!r} of {self._registry} stands for no bundle yet, so there is no "
                "recipe to fit: name one with --recipe"
            )
        dataset = self._read(recipe)
        look, until = self._plan.look_seconds, self._plan.until
        now = float(dataset.times.max()) if until is None else until
        cutoff = float(np.floor(now / look) * look)
        if decisions and decisions[-1].outcome == "trial":
            return self._end_trial(decisions[-1], cutoff, now)
        last = from_iso(decisions[-1].round) if decisions else None
        if last is not None and cutoff <= last:
            return None
        window = self._plan.window_seconds
        kept = dataset.times < cutoff
        if window is not None:
            kept &= dataset.times >= cutoff - window
        if not kept.any():
            return None
        dataset = dataset.take(kept)
        folds = self._folds(dataset, cutoff, champion)
        incumbent = None if champion is None else Incumbent(champion, dataset)
        failed = bool(decisions) and decisions[-1].outcome == "failed"
        due = why_due(self._plan.rules, cutoff, last, None, None, failed=failed)
        if due is None and incumbent is not None:
            due = self._why_early(incumbent, folds, cutoff, last)
        if due is None:
            return None
        log.info("round of %s: %s", to_iso(cutoff), due)
        decision = self._decide(recipe, incumbent, dataset, folds, cutoff, due)
        journal.append(self.place.journal, {"decision": decision.model_dump(mode="json")})
        return self._carry_out(decision)

    def _champion(self) -> Bundle | None:
        name = self.place.champion()
        return None if name is None else load_bundle(self._registry.folder / name, self._public_key)

    def _folds(self, dataset: Dataset, cutoff: float, champion: Bundle | None) -> list[Fold]:
        """The judged time, which begins where the champion had learnt its last; empty where nothing has come since."""
        # Of several machines the rows of one follow those of another.
        first = float(np.sort(dataset.times)[int(len(dataset) * LEARN_FIRST)])
        begin = max(cutoff - self._plan.judge_seconds, first)
        if champion is not None:
            begin = max(begin, self._learnt_until(champion))
        folds: list[Fold] = []
        end = cutoff
        while end > begin:
            folds.insert(0, Fold(max(begin, end - self._plan.refit_seconds), end))
            end = folds[0].begin
        return [fold for fold in folds if ((dataset.times >= fold.begin) & (dataset.times < fold.end)).any()]

    def _learnt_until(self, champion: Bundle) -> float:
        records = self._registry.records(champion.manifest.bundle_id)
        rounds = [from_iso(record.verdict["round"]) for record in records if "round" in record.verdict]
        known = max(rounds, default=learnt_until(champion))
        return -np.inf if known is None else known

    def _why_early(self, champion: Incumbent, folds: list[Fold], cutoff: float, last: float | None) -> str | None:
        rules = self._plan.rules
        drift = champion.drift_level(cutoff - self._plan.judge_seconds)
        saving = champion.value(folds).saving if rules.least_saving is not None and folds else None
        return why_due(rules, cutoff, last, drift, saving)

    def _decide(
        self, recipe: Recipe, champion: Incumbent | None, dataset: Dataset, folds: list[Fold], cutoff: float, due: str
    ) -> RenewalDecision:
        champion_id = None if champion is None else champion.bundle.manifest.bundle_id
        round_name = to_iso(cutoff)

        def decision(outcome: Any, why: str, candidate: str | None, verdict: Verdict | None) -> RenewalDecision:
            return RenewalDecision(
                id=f"{self.of}/{round_name}",
                **self.place.names,
                round=round_name,
                at=to_iso(self._now()),
                who=WHO,
                outcome=outcome,
                why=why,
                trigger=due,
                champion=champion_id,
                candidate=candidate,
                verdict={} if verdict is None else verdict.as_json(),
            )

        try:
            judged = bool(folds) and dataset.labels_mark_events and bool(dataset.events.any())
            verdict = judge(recipe, champion, dataset, folds, self._plan.jobs) if judged else None
            candidate = self._candidate(recipe, dataset, round_name, due, verdict)
        except (BrokerError, StoreError):
            raise
        except (StreamDetectorError, ValueError, ArithmeticError) as error:
            log.warning("round of %s failed: %s", round_name, error)
            return decision("failed", f"no candidate could be fitted and judged: {error}", None, None)
        outcome, why = decide(self._plan.rules, champion_id, verdict)
        return decision(outcome, why, candidate, verdict)

    def _candidate(self, recipe: Recipe, dataset: Dataset, round_name: str, due: str, verdict: Verdict | None) -> str:
        """The id of this round's candidate, fitted and registered; one that a killed run registered is taken again."""
        its = {"round": round_name, **self.place.names}
        for bundle_id in self._registry.ids():
            if any(its.items() <= record.verdict.items() for record in self._registry.records(bundle_id)):
                return bundle_id
        split = recipe.split
        # Nothing is set aside to judge: that was done with fits of their own.
        learnt = split.train / (split.train + split.validation)
        whole = split.model_copy(update={"train": learnt, "validation": 1.0 - learnt})
        folder = Path(tempfile.mkdtemp(prefix="renewal-"))
        try:
            usable_part, _ = usable(recipe, dataset)
            recipe = recipe.model_copy(update={"split": whole})
            fitted = fit_recipe(recipe, usable_part, folder / "bundle", private_key=self._private_key)
            told = its | ({} if verdict is None else verdict.as_json())
            add_bundle(self._registry, folder / "bundle", self._now(), WHO, verdict=told, note=due)
            try:
                self._track(fitted, folder / "bundle", told)
            except UsageError as error:
                log.warning("the round goes on untracked: %s", error)
            return fitted.bundle.manifest.bundle_id
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _finish_earlier(self) -> list[RenewalDecision]:
        """All decisions so far, the last one carried out."""
        entries = journal.read(self.place.journal)
        decisions = _decisions(entries)
        told = {entry["told"] for entry in entries if "told" in entry}
        if decisions and decisions[-1].id not in told:
            log.info("round of %s was decided and not carried out: finishing it", decisions[-1].round)
            self._carry_out(decisions[-1])
        return decisions

    def _end_trial(self, trial: RenewalDecision, cutoff: float, until: float) -> RenewalDecision | None:
        """What the candidate's own book says, once it says something; None while the trial goes on.

        No candidate is fitted meanwhile, or none would ever be beside the champion for long enough.
        """
        plan, candidate, begun = self._plan, str(trial.candidate), from_iso(trial.round)
        book, why_over = None, self.place.why_over(trial)
        if why_over is not None:
            found: tuple[Outcome, str] = "kept", f"the trial is over: {why_over}"
        else:
            book = None if self._book is None else self._book(candidate, begun, until)
            decided = decide_by_book(plan.rules, book, (cutoff - begun) / SECONDS_PER_DAY)
            if decided is None:
                return None
            found = decided
        outcome, why = found
        decision = trial.model_copy(
            update={
                "id": f"{trial.id}/trial",
                "at": to_iso(self._now()),
                "outcome": outcome,
                "why": why,
                "verdict": {} if book is None else book.as_json(),
            }
        )
        journal.append(self.place.journal, {"decision": decision.model_dump(mode="json")})
        return self._carry_out(decision)

    def _carry_out(self, decision: RenewalDecision) -> RenewalDecision:
        if decision.outcome == "promoted":
            stays = self.place.promote(decision)
            if stays is not None:
                decision = decision.model_copy(update={"outcome": "kept", "why": f"{decision.why}; {stays}"})
        if decision.outcome in ("proposed", "trial"):
            self.place.challenge(decision)
        self._tell(decision)
        journal.append(self.place.journal, {"told": decision.id})
        return decision


def _decisions(entries: list[dict[str, Any]]) -> list[RenewalDecision]:
    return [RenewalDecision.model_validate(entry["decision"]) for entry in entries if "decision" in entry]
