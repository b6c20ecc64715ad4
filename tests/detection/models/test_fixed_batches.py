"""What sizes of batches a model is shown."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS, MANY_WINDOWS, run_in_batches
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import ModelOutput, build

Run = Callable[[NDArray[np.float32], NDArray[np.bool_]], ModelOutput]


def a_network(*, rounds_otherwise_from: int | None = None) -> tuple[Network, list[int]]:
    """One that notes the sizes of its batches, and may round otherwise in batches of so many or more."""
    network = cast("Network", build(ModelConfig(kind="dense-autoencoder"), 3, 2))
    seen: list[int] = []
    right = network.run

    def run(windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        seen.append(len(windows))
        output = right(windows, known).reconstruction
        assert output is not None
        if rounds_otherwise_from is not None and len(windows) >= rounds_otherwise_from:
            output = np.nextafter(output, np.float32(9.0))
        return ModelOutput(reconstruction=output)

    network.run = run  # type: ignore[method-assign]
    return network, seen


@pytest.mark.parametrize("count", [1, MANY_WINDOWS - 1, MANY_WINDOWS, 2 * MANY_WINDOWS + BATCH_WINDOWS + 1])
def test_many_windows_are_scored_in_few_calls_and_each_has_its_own_result(count: int) -> None:
    network, seen = a_network()
    assert network.takes_many
    seen.clear()
    windows = np.random.default_rng(1).normal(size=(count, 3, 2)).astype(np.float32)
    known = np.ones(windows.shape, np.bool_)
    found = run_in_batches(network, windows, known).reconstruction
    many, rest = divmod(count, MANY_WINDOWS)
    assert seen == [MANY_WINDOWS] * many + [BATCH_WINDOWS] * -(-rest // BATCH_WINDOWS)
    alone = [run_in_batches(network, window[None], known[:1]).reconstruction for window in windows]
    assert found is not None
    assert found.tobytes() == b"".join(each.tobytes() for each in alone if each is not None)


def test_where_many_windows_are_rounded_otherwise_than_few_they_are_scored_a_few_at_a_time() -> None:
    network, seen = a_network(rounds_otherwise_from=MANY_WINDOWS)
    assert not network.takes_many
    seen.clear()
    windows = np.zeros((2 * MANY_WINDOWS, 3, 2), np.float32)
    run_in_batches(network, windows, np.ones(windows.shape, np.bool_))
    assert set(seen) == {BATCH_WINDOWS}


def test_a_network_with_other_arrays_is_tried_anew() -> None:
    network, seen = a_network()
    assert network.takes_many
    network.restore(network.arrays())
    seen.clear()
    assert network.takes_many
    assert MANY_WINDOWS in seen
