"""What a rule suppresses raises nothing, in files as on the stream, and costs nothing where it is judged."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from stream_detector.bundle.bundle import load_bundle
from stream_detector.detection.config import SuppressionConfig
from stream_detector.engine.offline import score_frame
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, small_bundle
from trainer.data.dataset import Dataset
from trainer.evaluation.evaluate import evaluate_rows
from trainer.evaluation.scored import score_dataset


@pytest.mark.slow
def test_a_file_is_judged_by_the_rules_of_the_stream(tmp_path: Path) -> None:
    rules = SuppressionConfig.model_validate({"rules": [{"sensors": "s[12]"}], "least_share": 0.6})
    bundle = load_bundle(small_bundle(tmp_path / "bundle", threshold=1.0, suppression=rules))
    generator = np.random.default_rng(3)
    times, values = BASE + np.arange(400) * STEP_SECONDS, generator.normal(size=(400, len(SENSORS)))
    labels = generator.random(400) < 0.02
    dataset = Dataset("f.csv", "0" * 64, SENSORS, times, values, labels, True)
    scored = score_dataset(bundle, dataset)
    frame = score_frame(bundle, times[~labels], values[~labels], times[labels])
    assert scored.above.tolist() == frame.steps.above.tolist()
    exceeds = scored.level > bundle.manifest.alarm_threshold
    assert 20 < scored.above.sum() < exceeds.sum() - 20, (scored.above.sum(), exceeds.sum())
    without = replace(bundle, manifest=bundle.manifest.model_copy(update={"suppression": None}))
    assert score_dataset(without, dataset).above.tolist() == exceeds.tolist()
    found, other = (evaluate_rows(score_dataset(each, dataset), each.manifest) for each in (bundle, without))
    assert found.cost is not None
    assert other.cost is not None
    assert found.cost < other.cost
