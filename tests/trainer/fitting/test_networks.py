"""What serves is what was fitted: the graph of a network's arrays draws what its torch module draws."""

import numpy as np
import pytest
import torch

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import run_in_batches
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import KINDS, build, model_class
from tests.support.models import some_options
from tests.support.properties import fast_first
from trainer.fitting.networks.torch_network import torch_network

NETWORKS = [kind for kind in sorted(KINDS) if issubclass(model_class(kind), Network)]


@pytest.mark.parametrize("seed", fast_first(range(4), 1))
@pytest.mark.parametrize(("steps", "sensors"), [(8, 3), (5, 1), (1, 4)])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_graph_draws_what_the_torch_module_draws(kind: str, steps: int, sensors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    try:
        model = build(ModelConfig(kind=kind, options=some_options(kind, rng)), steps, sensors)
    except ValueError:
        pytest.skip("there is no such size of this kind")
    assert isinstance(model, Network)
    network = torch_network(model, seed)
    windows = rng.normal(size=(16, steps, sensors)).astype(np.float32)
    network.prepare(windows, np.ones(windows.shape, bool))
    model.restore(network.arrays())
    network.module.eval()
    with torch.inference_mode():
        drawn = network.module(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(model.infer(windows).reshape(drawn.shape), drawn, rtol=1e-5, atol=2e-6)


def test_projected_errors_lie_in_the_plane_of_the_components() -> None:
    windows = np.random.default_rng(0).standard_normal((300, 12, 7)).astype(np.float32)
    windows[:, :, 3:] *= 0.01
    known = np.ones(windows.shape, bool)
    model = build(ModelConfig(kind="projected-lstm-autoencoder", options={"components": 3}), 12, 7)
    assert isinstance(model, Network)
    network = torch_network(model, seed=0)
    network.prepare(windows, known)
    model.restore(network.arrays())
    reconstruction = run_in_batches(model, windows, known).reconstruction
    assert reconstruction is not None
    left = windows - reconstruction
    assert np.abs(left[:, :, 3:]).max() < 0.05 * np.abs(left[:, :, :3]).max()


def test_there_are_networks() -> None:
    assert len(NETWORKS) > 5
