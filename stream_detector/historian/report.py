"""Reports what the reader found in a file, in a few lines."""

import math
from dataclasses import dataclass, field

MOST_NAMED = 5


@dataclass
class ReadReport:
    """Facts about a file that was read; a recipe's author needs to know them before the fit.

    Attributes:
        rows: read. equal_times: rows whose time an earlier row has already. steps_back: rows before their predecessor.
        gaps: pauses longer than three median steps. median_step_seconds: between rows; NaN with fewer than
            two, or where rows have no time.
        encoding: of the text; None for files that are none. decimal: the mark that was used.
        found_out: what was guessed, in words.
        missing_words: {sensor: {word: cells}}. labels: {value: rows} of the label column, the wanted ones.
        notes: everything else that a person should look at.
    """

    rows: int = 0
    equal_times: int = 0
    steps_back: int = 0
    gaps: int = 0
    median_step_seconds: float = float("nan")
    encoding: str | None = None
    decimal: str = "."
    found_out: list[str] = field(default_factory=list)
    missing_words: dict[str, dict[str, int]] = field(default_factory=dict)
    labels: dict[str, int] | None = None
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report in sentences, the most important first."""
        said = [f"{self.rows:,} rows"]
        if not math.isnan(self.median_step_seconds):
            said = [f"{self.rows:,} rows, {self.median_step_seconds:g} s apart, {self.gaps:,} gaps"]
        if self.equal_times:
            said.append(f"{self.equal_times:,} rows have the time of an earlier row")
        if self.steps_back:
            said.append(f"{self.steps_back:,} rows are earlier than the row before them")
        said += self.found_out
        if self.missing_words:
            total = sum(sum(words.values()) for words in self.missing_words.values())
            named = ", ".join(
                f"{sensor} ({', '.join(f'{word} {count}' for word, count in list(words.items())[:3])})"
                for sensor, words in list(self.missing_words.items())[:MOST_NAMED]
            )
            more = len(self.missing_words) - MOST_NAMED
            said.append(
                f"{total:,} cells hold words, taken as missing: {named}{f' and {more} more' if more > 0 else ''}"
            )
        if self.labels is not None:
            matched = ", ".join(f"{value} in {count:,} rows" for value, count in self.labels.items())
            said.append(f"labels: {matched}" if matched else "labels: no row is marked")
        return said + self.notes
