"""A fit in MLflow: parameters, metrics, report and bundle are one run, in the experiment named like the recipe."""

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from stream_detector.errors import UsageError, without_password
from stream_detector.extras import need
from trainer.evaluation.evaluate import in_words
from trainer.fitting.fit import Fitted

MOST_AT_ONCE = 100
LONGEST_VALUE = 6000
"""Limits of MLflow's interface: parameters in one request, characters of a parameter's value."""

PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")

OUR_WAYS = {
    # Whoever names a folder has decided on one, which MLflow 3 warns of by refusing it.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is away is reported in seconds, not after minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""Variables of MLflow that stand unless the environment says otherwise."""


class Tracker:
    """One experiment, at a server (http, https) or in a folder; credentials come from MLflow's own variables.

    Raises:
        UsageError: MLflow's client is not installed, or the address cannot be used.
    """

    def __init__(self, uri: str, recipe: str) -> None:
        need("`--mlflow`", "mlflow")
        for name, value in OUR_WAYS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self.shown = without_password(uri)
        """The address as it may be shown."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", recipe)
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(name)
            self._experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        except Exception as error:
            raise UsageError(f"--mlflow {self.shown} cannot be used: {_first_line(error)}") from error

    def log(
        self, fitted: Fitted, bundle: Path, report: Path | None = None, more: Mapping[str, Any] | None = None
    ) -> str:
        """Write one run and return its id. `more`: further values; numbers become metrics, the rest tags.

        Raises:
            UsageError: the run cannot be written; bundle and report are not touched.
        """
        try:
            return self._log(fitted, bundle, report, more or {})
        except Exception as error:
            raise UsageError(
                f"bundle {bundle} is written, but --mlflow {self.shown} does not take the run: {_first_line(error)}"
            ) from error

    def _log(self, fitted: Fitted, bundle: Path, report: Path | None, more: Mapping[str, Any]) -> str:
        from mlflow.entities import Metric, Param, RunTag

        manifest, now = fitted.bundle.manifest, int(time.time() * 1000)
        numbers = {**metrics(fitted), **{key: value for key, value in flat(more) if _is_number(value)}}
        tags = {
            "mlflow.source.name": "trainer",
            "mlflow.note.content": "\n\n".join(in_words(fitted.evaluation)),
            "stream_detector.bundle": manifest.bundle_id,
            "stream_detector.threshold": manifest.threshold_in_words,
            **{key: _text(value) for key, value in flat(more) if not _is_number(value)},
        }
        run = self._client.create_run(self._experiment, run_name=manifest.bundle_id).info.run_id
        done = False
        try:
            values = [Param(key, _text(value)) for key, value in parameters(fitted).items()]
            for first in range(0, len(values), MOST_AT_ONCE):
                self._client.log_batch(run, params=values[first : first + MOST_AT_ONCE])
            self._client.log_batch(
                run,
                metrics=[Metric(key, float(value), now, 0) for key, value in numbers.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            epochs = [
                Metric(name, loss, now, epoch)
                for name, losses in (("loss.train", fitted.losses.train), ("loss.held_out", fitted.losses.holdout))
                for epoch, loss in enumerate(losses, 1)
                if math.isfinite(loss)
            ]
            for first in range(0, len(epochs), MOST_AT_ONCE):
                self._client.log_batch(run, metrics=epochs[first : first + MOST_AT_ONCE])
            self._client.log_artifacts(run, str(bundle), "bundle")
            if report is not None:
                self._client.log_artifact(run, str(report))
            done = True
        finally:
            self._client.set_terminated(run, "FINISHED" if done else "FAILED")
        return str(run)


def parameters(fitted: Fitted) -> dict[str, Any]:
    """The recipe's settings, one a key such as `window.steps`, and what was learnt from."""
    manifest = fitted.bundle.manifest
    data = manifest.training.model_dump(mode="json")
    return {key: value for key, value in flat({**manifest.recipe_source, "training": data}) if value is not None}


def metrics(fitted: Fitted) -> dict[str, float]:
    """Figures of the part on which nothing was chosen, under `test`, and the threshold."""
    manifest = fitted.bundle.manifest
    counts = fitted.evaluation.confusion
    cells: dict[str, Any] = {}
    if counts is not None:
        (cells["tn"], cells["fp"]), (cells["fn"], cells["tp"]) = counts
    found = flat({"test": {**fitted.evaluation.as_json(), **cells}, "threshold": manifest.alarm_threshold})
    return {key: float(value) for key, value in found if _is_number(value)}


def flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested tables, as ("window.steps", 15).

    A table with keys that a name in MLflow cannot have, such as tags of a plant, stays whole.
    """
    for key, value in content.items():
        if isinstance(value, Mapping) and value and all(PLAIN_KEY.fullmatch(str(name)) for name in value):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _first_line(error: Exception) -> str:
    said = str(error).strip().split("\n")[0]
    return without_password(said or repr(error))
