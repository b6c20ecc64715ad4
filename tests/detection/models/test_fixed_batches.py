"""What sizes of batches a model is shown."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import (
    BATCH_WINDOWS,
    SIZES,
    run_in_batches,
    sizes_of,
    try_sizes,
)
from stream_detector.detection.models.networks.lstm_autoencoder import LstmAutoencoder
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
        (1, [4]),
        (5, [8]),
        (9, [16]),
        (17, [16, 4]),
        (23, [16, 8]),
        (24, [32]),
        (47, [32, 16]),
        (48, [64]),
        (129, [128, 4]),
        (197, [128, 64, 8]),
        (1024, [128] * 8),
    ],
)
def test_windows_are_scored_in_batches_that_fit_their_number_and_each_has_its_own_result(
    count: int, sizes: list[int]
) -> None:
    network, seen = a_network()
    assert all(network.takes(size) for size in SIZES)
    seen.clear()
    windows = np.random.default_rng(1).normal(size=(count, 3, 2)).astype(np.float32)
    known = np.ones(windows.shape, np.bool_)
    found = run_in_batches(network, windows, known).reconstruction
    assert seen == sizes
    alone = [run_in_batches(network, window[None], known[:1]).reconstruction for window in windows]
    assert found is not None
    assert found.tobytes() == b"".join(each.tobytes() for each in alone if each is not None)


@pytest.mark.parametrize("size", [size for size in SIZES if size != BATCH_WINDOWS])
def test_a_size_of_batch_in_which_windows_are_rounded_otherwise_is_not_used(size: int) -> None:
    network, seen = a_network(rounds_otherwise=frozenset([size]))
    assert not network.takes(size)
    seen.clear()
    for count in (1, *SIZES, 2 * max(SIZES)):
        windows = np.zeros((count, 3, 2), np.float32)
        run_in_batches(network, windows, np.ones(windows.shape, np.bool_))
    assert size not in seen


def test_a_batch_of_long_windows_is_small_enough_for_a_cache() -> None:
    largest = {}
    for steps in (1, 5, 16, 30, 60, 500):
        network = LstmAutoencoder(LstmAutoencoder.Options(hidden=(2,)), steps, 1)
        largest[steps] = max(sizes_of(network, 1000))
    assert largest == {1: 128, 5: 128, 16: 128, 30: 64, 60: 32, 500: 16}


def test_what_was_tried_beforehand_keeps_no_batch_waiting() -> None:
    network, seen = a_network()
    try_sizes(network)
    seen.clear()
    windows = np.zeros((197, 3, 2), np.float32)
    run_in_batches(network, windows, np.ones(windows.shape, np.bool_))
    assert seen == [128, 64, 8]


def test_a_network_with_other_arrays_is_tried_anew() -> None:
    network, seen = a_network()
    assert network.takes(max(SIZES))
    network.restore(network.arrays())
    seen.clear()
    assert network.takes(max(SIZES))
    assert max(SIZES) in seen
