"""Windows a second of the scorer, by the number of windows that are scored at once.

    python -m benchmarks.scorer [--write]

The network is that of the recipe `paper-mill` (LSTM autoencoder 32-16, 60 sensors), on one thread. *Scorer* is all that
makes a score of a window; *network* is its matrix products alone, as they serve (onnxruntime, in batches of one size,
so that a score does not depend on its batch); *torch* is the same network as it is fitted, in batches as they come.

Figures are medians of interleaved repeats, in CPU time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.network import Network
    from stream_detector.detection.scoring import Scorer

NAME = "scorer"
SENSORS = 60
WINDOW_STEPS = (5, 30)
BATCHES = (1, 8, 20, 64, 256, 1024)
REPEAT_SECONDS = 0.3
AGREEMENT = 1e-4
CONTENDERS = ("scorer", "network", "torch")

Run = Callable[[NDArray[Any]], object]


def built(window_steps: int) -> "tuple[Scorer, Network]":
    """A scorer with random weights, and its network."""
    from benchmarks.broker.bundles import write_bundle
    from benchmarks.broker.load import Load
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.detection.models.networks.network import Network

    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", Load(NAME, "rows", 1, SENSORS, 120.0, 0), window_steps)
        scorer = load_bundle(Path(folder) / "bundle").scorer
    network = scorer._model  # noqa: SLF001 - the network is measured alone
    assert isinstance(network, Network)
    return scorer, network


def torch_run(network: "Network") -> Run:
    """The same network in torch, as it is fitted, on one thread; batches are not cut.

    Raises:
        ValueError: it does not draw what serves.
    """
    import torch

    from stream_detector.detection.models.fixed_batches import run_in_batches
    from trainer.fitting.networks.torch_network import torch_network
    from trainer.fitting.threads import one_thread

    fitted = torch_network(network, seed=0)
    fitted.load(network.arrays())
    fitted.module.eval()

    def run(windows: NDArray[np.float32]) -> object:
        with one_thread(), torch.inference_mode():
            return fitted.module(torch.from_numpy(windows)).numpy()

    tried = np.random.default_rng(3).normal(size=(33, network.steps, SENSORS)).astype(np.float32)
    served = run_in_batches(network, tried, np.ones(tried.shape, np.bool_)).reconstruction
    assert served is not None
    difference = float(np.abs(np.asarray(run(tried)) - served).max())
    if difference > AGREEMENT:
        raise ValueError(f"what serves differs from torch by {difference:g}, at most {AGREEMENT:g} is wanted")
    return run


def per_second(run: Run, windows: NDArray[Any]) -> float:
    """Windows a second of CPU time, over about `REPEAT_SECONDS`."""
    run(windows)
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < REPEAT_SECONDS:
        run(windows)
        count += len(windows)
    return count / spent


def measure(window_steps: int, repeats: int) -> list[dict[str, Any]]:
    """One entry a batch size."""
    from stream_detector.detection.models.fixed_batches import run_in_batches

    scorer, network = built(window_steps)
    wide = np.random.default_rng(7).normal(size=(max(BATCHES), window_steps, SENSORS))
    narrow = wide.astype(np.float32)

    def drawn(windows: NDArray[np.float32]) -> object:
        return run_in_batches(network, windows, np.ones(windows.shape, np.bool_)).reconstruction

    contenders: dict[str, tuple[Run, NDArray[Any]]] = {
        "scorer": (scorer.score, wide),
        "network": (drawn, narrow),
        "torch": (torch_run(network), narrow),
    }
    rates: dict[tuple[int, str], list[float]] = {}
    for _ in range(repeats):
        for batch in BATCHES:
            for name, (run, windows) in contenders.items():
                rates.setdefault((batch, name), []).append(per_second(run, windows[:batch]))
    return [
        {"window_steps": window_steps, "batch": batch}
        | {name: round(statistics.median(rates[batch, name])) for name in contenders}
        for batch in BATCHES
    ]


def table(document: Document) -> str:
    rows = [
        (f"{line['window_steps']} steps, {line['batch']} at once", *(f"{line[name]:,}" for name in CONTENDERS))
        for line in document["rates"]
    ]
    header = ("windows", "scorer, windows/s", "network, windows/s", "network in torch")
    return f"{said(document['machine'])}\n\n{markdown(header, rows)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    taken_on = machine()
    rates = [line for steps in WINDOW_STEPS for line in measure(steps, arguments.repeats)]
    document = {"machine": taken_on, "rates": rates}
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
