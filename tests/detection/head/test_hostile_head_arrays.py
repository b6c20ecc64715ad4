"""Arrays of a head that no trainer wrote: refused with a ValueError, which the bundle turns into its own error."""

import numpy as np
import pytest

from stream_detector.detection.head.ensemble import Averaged, Boosted, Ensemble, Linear
from stream_detector.detection.head.forest import Forest

FEATURES = 3
STUMP = Forest(
    feature=np.zeros(3, np.int32),
    threshold=np.zeros(3),
    left=np.array([1, 1, 2], np.int32),
    right=np.array([2, 1, 2], np.int32),
    value=np.array([0.0, -0.1, 0.1]),
    roots=np.zeros(1, np.int32),
)


def arrays() -> dict[str, np.ndarray]:
    linear = Linear(np.zeros(FEATURES), np.ones(FEATURES), np.zeros(FEATURES), 0.0)
    members = (Averaged(STUMP, 1.0, 0.0), Boosted(STUMP, 1.0, 0.0))
    return Ensemble(np.zeros(FEATURES, np.float32), linear, 1.0, members).arrays()


@pytest.mark.parametrize("member", ["forest.0.", "boosted.0."])
@pytest.mark.parametrize("name", ["feature", "threshold", "left", "right", "value", "roots", "weight"])
@pytest.mark.parametrize("form", ["a single number", "a column", "a square"])
def test_trees_in_another_shape_are_refused(member: str, name: str, form: str) -> None:
    """A column of thresholds or features sends the descent through the trees round for ever."""
    found = arrays()
    whole = found[member + name]
    reshaped = {"a single number": whole[0], "a column": whole[:, None], "a square": np.tile(whole, (len(whole), 1))}
    found[member + name] = np.asarray(reshaped[form])
    with pytest.raises(ValueError, match=r".+"):
        Ensemble.restore(found, FEATURES)


@pytest.mark.parametrize("form", ["a single number", "a column"])
def test_an_intercept_in_another_shape_is_refused(form: str) -> None:
    found = arrays()
    whole = found["linear.intercept"]
    found["linear.intercept"] = np.asarray(whole[0] if form == "a single number" else whole[:, None])
    with pytest.raises(ValueError, match=r".+"):
        Ensemble.restore(found, FEATURES)


def test_an_ensemble_of_nothing_is_refused() -> None:
    """Its logit would be a division by zero at the first step that is scored."""
    found = {name: array for name, array in arrays().items() if name.startswith(("neutral", "linear"))}
    found["linear.intercept"] = np.zeros(2)
    with pytest.raises(ValueError, match=r".+"):
        Ensemble.restore(found, FEATURES)
