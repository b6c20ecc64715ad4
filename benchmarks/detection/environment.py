"""Site environment: a Grafana download with Korean names, made from public gas sensors, with faults put in.

The set has no labels, so its last part gets faults of known time: a sensor that sticks, one that drifts away, one that
jumps, each for a day. What is reported is how many faulty hours are found at what rate of false alarms.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, auroc, fit, with_changes
from trainer.data.dataset import read_dataset
from trainer.evaluation.scored import score_dataset

NAMES = {
    "PT08.S1(CO)": "일산화탄소",
    "PT08.S2(NMHC)": "탄화수소",
    "PT08.S3(NOx)": "질소산화물",
    "PT08.S4(NO2)": "이산화질소",
    "PT08.S5(O3)": "오존",
    "T": "온도",
    "RH": "습도",
}
FAULT_ROWS = 24
EVERY = 120


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    recipe = with_changes(
        "environment",
        grid={"step_seconds": 3600, "lateness_seconds": 3600, "max_gap_steps": 5},
        train={"seed": seed},
    )
    path = scratch / "panel-data.csv"
    _grafana_download(min(folder.glob("*.csv*")), path)
    clean = read_dataset(path, recipe.data)
    first = round((recipe.split.train + recipe.split.validation) * len(clean))
    bundle = fit(recipe, clean, scratch).bundle
    faulty, labels = _with_faults(clean.values, first, seed)
    scored = score_dataset(bundle, type(clean)(**{**vars(clean), "values": faulty}))
    judged = scored.rows >= first
    rows = [
        {
            "method": "**environment**: LSTM autoencoder 32-4",
            **Errors.of(scored.above[judged], labels[scored.rows[judged]]).both,
            "AUROC": auroc(scored.score[judged], labels[scored.rows[judged]]),
        }
    ]
    train = clean.values[: round(recipe.split.train * len(clean))]
    for name in ("RMS", "moving z-score", "isolation forest", "PCA T2+Q", "half-space trees"):
        scale = np.nanstd(train, axis=0)
        center = np.nanmean(train, axis=0)
        scores = BASELINES[name]((train - center) / scale, (faulty - center) / scale, seed)
        quiet = BASELINES[name]((train - center) / scale, (clean.values - center) / scale, seed)
        limit = float(np.quantile(quiet[len(train) : first], recipe.threshold.quantile))
        rows.append(
            {
                "method": name,
                **Errors.of(scores[first:] > limit, labels[first:]).both,
                "AUROC": auroc(scores[first:], labels[first:]),
            }
        )
    for name, alarm in (("always alarm", True), ("never alarm", False)):
        rows.append({"method": name, **Errors.of(np.full(len(labels) - first, alarm), labels[first:]).both})
    return {
        f"Site environment, {len(clean) - first:,} hours judged, {int(labels.sum())} of them with a fault put in; "
        "threshold = 0.99 quantile of validation": rows
    }


def _grafana_download(source: Path, path: Path) -> None:
    """As a panel of joined series comes out of Grafana for a Korean site, byte-order mark and units included."""
    table = pd.read_csv(source, sep=";").dropna(subset=["Date"])
    lines = ["sep=,", ",".join(['"Time"', *(f'"{name}"' for name in NAMES.values())])]
    for date, clock, *values in table[["Date", "Time", *NAMES]].astype(str).to_numpy():
        day, month, year = date.split("/")
        cells = [
            "" if float(value) == -200 else f"{value} °C" if name == "T" else value
            for name, value in zip(NAMES, values, strict=True)
        ]
        lines.append(",".join([f"{year}-{month}-{day} {clock.replace('.', ':')}", *cells]))
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")


def _with_faults(values: np.ndarray, first: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A fault of a day every five days from row `first` on; kinds and sensors take turns."""
    rng = np.random.default_rng(seed)
    faulty, labels = values.copy(), np.zeros(len(values), bool)
    spread = np.nanstd(values[:first], axis=0)
    for number, start in enumerate(range(first + EVERY // 2, len(values) - FAULT_ROWS, EVERY)):
        sensor, rows = int(rng.integers(values.shape[1])), slice(start, start + FAULT_ROWS)
        if number % 3 == 0:
            faulty[rows, sensor] = faulty[start, sensor]
        elif number % 3 == 1:
            faulty[rows, sensor] += np.linspace(0, 4, FAULT_ROWS) * spread[sensor]
        else:
            faulty[rows, sensor] += 3 * spread[sensor]
        labels[rows] = True
    return faulty, labels
