"""What happened in a drill, and the table of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GRACE_SECONDS = 5.0


PREFIX = "StreamDetector"
NONE = "none"
"""The alert of what ought to raise none."""


@dataclass(frozen=True)
class Told:
    """An alert at the receiver of the platform team."""

    at: float
    alert: str
    site: str


@dataclass
class Result:
    """One alert that a fault ought to raise. Times are of one clock, in seconds; None = it did not happen."""

    alert: str
    site: str
    fault: str
    broken: float
    fired: float | None = None
    told: float | None = None
    mended: float | None = None
    resolved: float | None = None

    @property
    def good(self) -> bool:
        return self.alert == NONE or None not in (self.fired, self.told, self.resolved)

    def look(self, now: float, firing: set[tuple[str, str]], told: Iterable[Told]) -> str:
        """Enters what has happened by now, and says what is new. `firing`: (alert, site) of what fires."""
        key, said = (self.alert, self.site), ""
        if self.fired is None and key in firing:
            self.fired, said = now, "fires"
        if self.told is None:
            self.told = next((one.at for one in told if (one.alert, one.site) == key and one.at >= self.broken), None)
        if self.mended is not None and self.fired is not None and self.resolved is None and key not in firing:
            self.resolved, said = now, "is over"
        return said


@dataclass
class Judgement:
    """All that was wanted and all that was told."""

    results: list[Result]
    told: list[Told] = field(default_factory=list)
    wanted: Iterable[str] = ()

    def false_ones(self) -> list[Told]:
        """Alerts that were told although no fault of their site ought to raise them at that time."""

        def explained(told: Told) -> bool:
            return any(
                (told.alert, told.site) == (result.alert, result.site)
                and result.broken <= told.at <= (result.resolved or told.at) + GRACE_SECONDS
                for result in self.results
            )

        return [told for told in self.told if not explained(told)]

    def beside(self, result: Result) -> list[str]:
        """The false ones of the same site while this fault lasted."""
        until = (result.mended if result.alert == NONE else result.resolved) or float("inf")
        return sorted(
            {
                told.alert
                for told in self.false_ones()
                if told.site == result.site and result.broken <= told.at <= until + GRACE_SECONDS
            }
        )

    def missing(self) -> list[str]:
        """Alerts that no fault was made for."""
        tried = {result.alert for result in self.results}
        return [alert for alert in self.wanted if alert not in tried]

    @property
    def good(self) -> bool:
        return all(result.good for result in self.results) and not self.false_ones() and not self.missing()

    def table(self, waits: Mapping[str, str]) -> str:
        """In Markdown. `waits`: alert -> how long its rule waits in the drill and as shipped."""
        lines = [
            "| alert | what was broken | fires | told | over after the mend | false ones beside | waits, shipped |",
            "|---|---|--:|--:|--:|---|---|",
        ]
        for result in self.results:
            times = ["", "", ""]
            if result.alert != NONE:
                times = [
                    _seconds(result.fired, result.broken),
                    _seconds(result.told, result.broken),
                    _seconds(result.resolved, result.mended),
                ]
            cells = [
                result.alert.removeprefix(PREFIX),
                f"{result.site}: {result.fault}",
                *times,
                ", ".join(self.beside(result)) or "none",
                waits.get(result.alert, ""),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def _seconds(at: float | None, since: float | None) -> str:
    return "**never**" if at is None or since is None else f"{max(0.0, at - since):.0f} s"
