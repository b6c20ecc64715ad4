"""The life of a plant with renewal, act by act; each says what it found, and what of it holds."""

from dataclasses import dataclass, field
from pathlib import Path

from stream_detector.errors import StreamDetectorError
from stream_detector.messages import RenewalDecision, from_iso
from stream_detector.operations.ledger.report import Tally
from tests.renewal.claims import Claims
from tests.renewal.plant import DAY, facts_of_the_change
from tests.renewal.site import PlantSite

MOST_FALSE_DRIFTS = 1
DRIFT_WITHIN_DAYS = 3
RECOVERED = 0.8
MOST_MORE_DAYS = 12
FALLEN = 0.8


@dataclass(frozen=True)
class Days:
    """How long each part of the story is; `again`: of the changed machine, the last days, which tell whether the saving
    is back."""

    learn: int = 21
    quiet: int = 30
    changed: int = 30
    again: int = 14

    @property
    def change(self) -> int:
        """The day on which the machine is changed."""
        return self.learn + self.quiet

    @property
    def end(self) -> int:
        """The day after the last."""
        return self.change + self.changed


@dataclass
class Story:
    """`decisions`: (day, decision), in order."""

    site: PlantSite
    bad_recipe: Path
    report: Path
    days: Days
    claims: Claims = field(default_factory=Claims)
    decisions: list[tuple[int, RenewalDecision]] = field(default_factory=list)
    first: str = ""
    usual: float = 0.0

    def tell(self) -> Claims:
        """All acts. One that breaks off is a claim that does not hold, and the next one begins."""
        acts = (
            self.a_first_champion,
            self.a_quiet_month,
            self.the_machine_is_changed,
            self.a_bad_candidate,
            self.a_rollback,
            self.it_ends_in_order,
        )
        for each in acts:
            try:
                each()
            except (AssertionError, RuntimeError, StreamDetectorError) as error:
                self.claims.add(each.__name__.replace("_", " "), False, f"it broke off: {error}")
        return self.claims

    def day(self, day: int) -> RenewalDecision | None:
        """One more day, at the end of which renewal looks."""
        self.site.live(day + 1)
        decision = self.site.look()
        if decision is not None:
            self.decisions.append((day + 1, decision))
            say(f"day {day + 1}: {decision.trigger}; {decision.outcome}: {decision.why}")
            self._carried_out(decision)
        return decision

    def _carried_out(self, decision: RenewalDecision) -> None:
        if decision.outcome == "trial":
            if "challenger" not in self.site.workers:
                self.site.start("challenger")
            self.site.decides("challenger", str(decision.candidate))
        if decision.outcome == "promoted":
            seconds = self.site.decides("champion", str(decision.candidate))
            say(f"        the running champion decided by it {seconds:.1f} s later, by the record in its log")

    def a_first_champion(self) -> None:
        act(f"{self.days.learn} days of history, and a first champion")
        self.site.live(self.days.learn)
        decision = self.site.look()
        first = None if decision is None else decision.candidate
        self.claims.add(
            "the first round makes a champion",
            decision is not None and decision.outcome == "promoted" and first is not None,
            "no round" if decision is None else f"{decision.outcome}: {decision.why}",
        )
        self.first = str(first)
        self.site.start("champion")

    def a_quiet_month(self) -> None:
        act(f"{self.days.quiet} days in which nothing is done to the machine; renewal looks every day")
        for day in range(self.days.learn, self.days.change):
            self.day(day)
        false = [decision for _, decision in self.decisions if decision.trigger.startswith("drift")]
        rounds = {decision.round for decision in false}
        tally = self.site.saved(self.days.learn, self.days.change)
        self.usual = tally.saving or 0.0
        say(f"the champion saves {figures(tally)}")
        self.claims.add("the alarms pay", (tally.saving_low or 0.0) > 0.0, figures(tally))
        claim = f"at most {MOST_FALSE_DRIFTS} drift in the {self.days.quiet} quiet days"
        self.claims.add(claim, len(rounds) <= MOST_FALSE_DRIFTS, f"{len(rounds)}")

    def the_machine_is_changed(self) -> None:
        what, days = facts_of_the_change(), self.days
        act(f"day {days.change}: the machine is changed ({what}), and goes on for {days.changed} days")
        found = [
            (day + 1, decision)
            for day in range(self.days.change, self.days.end)
            if (decision := self.day(day)) is not None
        ]
        drifts = [
            days_since(self.site.plant.at(self.days.change), each)
            for _, each in found
            if each.trigger.startswith("drift")
        ]
        delay = min(drifts, default=None)
        self.claims.add(
            f"drift fires within {DRIFT_WITHIN_DAYS} days of the change",
            delay is not None and delay <= DRIFT_WITHIN_DAYS,
            "never" if delay is None else f"after {delay:g} days",
        )
        promoted = [(day, decision) for day, decision in found if decision.outcome == "promoted"]
        first = promoted[0][0] if promoted else self.days.end
        fallen = self.site.saved(self.days.change, first)
        claim = f"until a candidate takes over the saving falls below {FALLEN:.0%} of what it was"
        self.claims.add(claim, (fallen.saving or 0.0) < FALLEN * self.usual, self.compared(fallen))
        self.claims.add(
            "a candidate was the challenger, and its own book promoted it",
            any(decision.id.endswith("/trial") for _, decision in promoted),
            "; ".join(f"day {day}: {decision.why}" for day, decision in promoted) or "none was",
        )
        again = self.site.saved(self.days.end - self.days.again, self.days.end)
        claim = f"in the last {self.days.again} days the saving is at least {RECOVERED:.0%} of what it was"
        self.claims.add(claim, (again.saving or 0.0) >= RECOVERED * self.usual > 0.0, self.compared(again))

    def compared(self, tally: Tally) -> str:
        """Figures, and the part of what was saved in the quiet month."""
        part = "" if tally.saving is None or self.usual <= 0.0 else f"{tally.saving / self.usual:.0%} of it: "
        return part + figures(tally)

    def a_bad_candidate(self) -> None:
        act("a recipe that raises alarms at random is to take over")
        last = self._after_the_last_trial()
        champion = self.site.registry.resolve("champion")
        self.site.live(last + 1)
        decision = self.site.look(self.bad_recipe, every="1d")
        stays = self.site.registry.resolve("champion") == champion
        found = "no round" if decision is None else f"{decision.outcome}: {decision.why}"
        good = decision is not None and decision.candidate is not None and decision.outcome == "kept" and stays
        self.claims.add("a bad candidate is fitted, and not promoted", good, found)

    def _after_the_last_trial(self) -> int:
        """Nothing is fitted while a candidate is on trial; returns the day on which none is."""
        for day in range(self.days.end, self.days.end + MOST_MORE_DAYS):
            if not self.decisions or self.decisions[-1][1].outcome != "trial":
                return day
            self.day(day)
        raise RuntimeError(f"a trial has not ended {MOST_MORE_DAYS} days after the last")

    def a_rollback(self) -> None:
        act("a rollback in the log")
        site = self.site
        before, pid = site.registry.resolve("champion"), site.workers["champion"].process
        wanted = site.registry.before("champion")
        site.command("rollback", "--bootstrap", site.kafka.bootstrap, "--why", "a trial of the way back")
        seconds = site.decides("champion", wanted)
        same = pid is site.workers["champion"].process and site.workers["champion"].alive
        found = f"{before} to {wanted}, {seconds:.1f} s after the command had written its records, same process"
        self.claims.add("a rollback puts the bundle before it back", same and before != wanted, found)
        pauses = site.pauses("champion")
        self.claims.add(
            "every switch of the champion was in its log, and held decisions up for less than 0.5 s",
            len(pauses) == len(site.registry.changes("champion")) - 1 and max(pauses, default=9.0) < 0.5,
            f"{len(pauses)} switches: {', '.join(f'{pause:.2f}' for pause in pauses)} s",
        )

    def it_ends_in_order(self) -> None:
        act("audit, report, and the end")
        site = self.site
        codes = {role: worker.stop(60.0) for role, worker in site.workers.items()}
        self.claims.add("champion and challenger end in order", set(codes.values()) == {0}, f"exit codes {codes}")
        site.command("report", "--since", f"{self.days.end}d", "--out", self.report, "--registry", site.registry.folder)
        say(f"the report for the plant's manager: {self.report}")
        try:
            said = site.command("audit", "--bundle", site.registry.folder / "champion").strip().splitlines()[-1]
            self.claims.add("the log gives the alarms that were raised, through all switches", True, said)
        except RuntimeError as error:
            self.claims.add("the log gives the alarms that were raised, through all switches", False, str(error))


def days_since(moment: float, decision: RenewalDecision) -> float:
    """Days of event time from a moment to the end of the data of a round."""
    return (from_iso(decision.round) - moment) / DAY


def figures(tally: Tally) -> str:
    """A saving with its interval, and what it rests on."""
    if tally.saving is None:
        return "no event"
    low, high = tally.saving_low, tally.saving_high
    interval = "" if low is None or high is None else f" [{low:.0%}, {high:.0%}]"
    return f"{tally.saving:.1%}{interval}, {tally.caught} of {tally.events} breaks, {tally.false_alarms} false alarms"


def act(text: str) -> None:
    print(f"\n{text}", flush=True)


def say(text: str) -> None:
    print(f"    {text}", flush=True)
