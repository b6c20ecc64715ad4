"""What sizes of batches a model is shown."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS, FEW_WINDOWS, MANY_WINDOWS, run_in_batches
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import ModelOutput, build

Run = Callable[[NDArray[np.float32], NDArray[np.bool_]], ModelOutput]


def a_network(*, rounds_otherwise: frozenset[int] = frozenset()) -> tuple[Network, list[int]]:
    """One that notes the sizes of its batches, and may round otherwise in batches of some sizes."""
    network = cast("Network", build(ModelConfig(kind="dense-autoencoder"), 3, 2))
    seen: list[int] = []
    right = network.run

    def run(windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        seen.append(len(windows))
        output = right(windows, known).reconstruction
        assert output is not None
        if len(windows) in rounds_otherwise:
            output = np.nextafter(output, np.float32(9.0))
        return ModelOutput(reconstruction=output)

    network.run = run  # type: ignore[method-assign]
    return network, seen


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, [FEW_WINDOWS]),
        (FEW_WINDOWS + 1, [FEW_WINDOWS, FEW_WINDOWS]),
        (BATCH_WINDOWS // 2 + 1, [BATCH_WINDOWS]),
        (BATCH_WINDOWS + 1, [BATCH_WINDOWS, FEW_WINDOWS]),
        (MANY_WINDOWS - 1, [BATCH_WINDOWS] * (MANY_WINDOWS // BATCH_WINDOWS)),
        (MANY_WINDOWS, [MANY_WINDOWS]),
        (2 * MANY_WINDOWS + 1, [MANY_WINDOWS, MANY_WINDOWS, FEW_WINDOWS]),
    ],
)
def test_windows_are_scored_in_batches_that_fit_their_number_and_each_has_its_own_result(
    count: int, sizes: list[int]
) -> None:
    network, seen = a_network()
    assert network.takes(MANY_WINDOWS)
    assert network.takes(FEW_WINDOWS)
    seen.clear()
    windows = np.random.default_rng(1).normal(size=(count, 3, 2)).astype(np.float32)
    known = np.ones(windows.shape, np.bool_)
    found = run_in_batches(network, windows, known).reconstruction
    assert seen == sizes
    alone = [run_in_batches(network, window[None], known[:1]).reconstruction for window in windows]
    assert found is not None
    assert found.tobytes() == b"".join(each.tobytes() for each in alone if each is not None)


@pytest.mark.parametrize("size", [FEW_WINDOWS, MANY_WINDOWS])
def test_a_size_of_batch_in_which_windows_are_rounded_otherwise_is_not_used(size: int) -> None:
    network, seen = a_network(rounds_otherwise=frozenset([size]))
    assert not network.takes(size)
    seen.clear()
    for count in (1, 2 * MANY_WINDOWS):
        windows = np.zeros((count, 3, 2), np.float32)
        run_in_batches(network, windows, np.ones(windows.shape, np.bool_))
    assert size not in seen


def test_a_network_with_other_arrays_is_tried_anew() -> None:
    network, seen = a_network()
    assert network.takes(MANY_WINDOWS)
    network.restore(network.arrays())
    seen.clear()
    assert network.takes(MANY_WINDOWS)
    assert MANY_WINDOWS in seen
