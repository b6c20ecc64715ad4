"""Both kinds of error, thresholds that baselines choose by the same rule, and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Dataset
from trainer.evaluation.evaluate import area_under_roc
from trainer.fitting.fit import Fitted, fit_recipe
from trainer.recipe import Recipe, load_recipe

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]


Tables = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Report:
    """What a set's `run` gives where its JSON is more than its tables. `document`: the figures by their own names."""

    tables: Tables
    document: dict[str, Any]


@dataclass(frozen=True)
class Errors:
    """Counts of decisions; the rates are None where there is nothing to take a share of."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, alarm: Mask, positive: Mask) -> "Errors":
        return cls(
            int((alarm & positive).sum()),
            int((alarm & ~positive).sum()),
            int((~alarm & positive).sum()),
            int((~alarm & ~positive).sum()),
        )

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def f1(self) -> float:
        """Of the anomalous class."""
        return 2 * self.tp / max(2 * self.tp + self.fp + self.fn, 1)

    @property
    def f1_normal(self) -> float:
        """Of the normal class."""
        return 2 * self.tn / max(2 * self.tn + self.fp + self.fn, 1)

    @property
    def accuracy(self) -> float:
        return (self.tp + self.tn) / max(self.tp + self.tn + self.fp + self.fn, 1)

    @property
    def false_alarm_rate(self) -> float | None:
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else None

    @property
    def missed_rate(self) -> float | None:
        return self.fn / (self.fn + self.tp) if self.fn + self.tp else None

    @property
    def both(self) -> dict[str, Any]:
        return {"F1": self.f1, "false alarms": percent(self.false_alarm_rate), "missed": percent(self.missed_rate)}


def percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.1%}".replace("%", " %")


def with_changes(recipe: Recipe | str, **changes: Any) -> Recipe:
    """A recipe with other values: `with_changes("water-loop", threshold={"factor": 1.0})` merges sections."""
    content = (load_recipe(recipe) if isinstance(recipe, str) else recipe).model_dump()
    for section, values in changes.items():
        merge = isinstance(values, dict) and isinstance(content[section], dict)
        content[section] = {**content[section], **values} if merge else values
    return Recipe.model_validate(content)


def fit(recipe: Recipe, dataset: Dataset, folder: Path, validation: Dataset | None = None) -> Fitted:
    """Fit into a folder of the benchmark's own."""
    return fit_recipe(recipe, dataset, folder / recipe.name, validation)


def spread(rows: NDArray[np.int64], values: Scores, count: int) -> Scores:
    """Scores (B,) of `rows` laid over all `count` rows of a file; a row without a full window never alarms."""
    full = np.full(count, -np.inf)
    full[rows] = values
    return full


def stretches(mask: Mask) -> list[tuple[int, int]]:
    """Unbroken stretches of a mask as (first, behind the last)."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def auroc(scores: Scores, positive: Mask) -> float | None:
    if not positive.any() or positive.all():
        return None
    return area_under_roc(np.nan_to_num(scores, neginf=-1e300, posinf=1e300), positive)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table; the first row's keys are the columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))

    def cell(value: Any) -> str:
        if value is None:
            return ""
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)
