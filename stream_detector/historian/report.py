"""Reports what the reader found in a file, in a few lines."""

import math
from collections import Counter
from collections.abc import Sequence
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
        assets: {asset: rows}; none where the file tells of no asset. All counts are then sums over the assets.
        missing_words: {sensor: {word: cells}}. labels: {value: rows} of the label column, the wanted ones.
        label_column, label_texts: its name, and all that it holds.
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
    assets: dict[str, int] = field(default_factory=dict)
    missing_words: dict[str, dict[str, int]] = field(default_factory=dict)
    labels: dict[str, int] | None = None
    label_column: str = ""
    label_texts: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "ReadReport") -> None:
        """Take up what another file of the same history holds; rows and times are counted of all files together."""
        self.notes += [note for note in other.notes if note not in self.notes]
        self.found_out += [found for found in other.found_out if found not in self.found_out]
        for sensor, words in other.missing_words.items():
            self.missing_words[sensor] = dict(Counter(self.missing_words.get(sensor, {})) + Counter(words))
        if self.labels is not None and other.labels is not None:
            self.labels = {value: count + other.labels.get(value, 0) for value, count in self.labels.items()}
            self.label_texts |= other.label_texts

    def lines(self) -> list[str]:
        """The report in sentences, the most important first."""
        said = [f"{self.rows:,} rows"]
        if not math.isnan(self.median_step_seconds):
            said = [f"{self.rows:,} rows, {self.median_step_seconds:g} s apart, {self.gaps:,} gaps"]
        if self.equal_times:
            said.append(f"{self.equal_times:,} rows have the time of an earlier row")
        if self.steps_back:
            said.append(f"{self.steps_back:,} rows are earlier than the row before them")
        if self.assets:
            named = ", ".join(f"{name} ({rows:,} rows)" for name, rows in list(self.assets.items())[:MOST_NAMED])
            more = len(self.assets) - MOST_NAMED
            said.append(f"{len(self.assets)} assets: {named}{f' and {more} more' if more > 0 else ''}")
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
        return said + self.unmatched() + self.notes

    def unmatched(self) -> list[str]:
        """A sentence about values that were to mark rows and mark none; usually they are misspelt."""
        nothing = [value for value, count in (self.labels or {}).items() if not count]
        if not nothing or not self.label_texts:
            return []
        wanted, there = ", ".join(map(repr, nothing)), some(sorted(map(repr, self.label_texts)))
        return [f"no row of column {self.label_column!r} holds {wanted}; it holds {there}"]


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
