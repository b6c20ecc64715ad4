"""Windows a second of the scorer, by the number of windows that are scored at once.

    python -m benchmarks.scorer [--write]

The network is that of the recipe `paper-mill` (LSTM autoencoder 32-16, 60 sensors), on one thread. *Scorer* is all that
makes a score of a window; *network* is its matrix products alone, as they run here (in batches of one size, so that a
score does not depend on its batch). Where onnxruntime and onnx can be imported, the same network runs there too:

    VIRTUAL_ENV=.venv uv run --no-project --active --with onnxruntime --with onnx python -m benchmarks.scorer

Figures are medians of interleaved repeats, in CPU time.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said

if TYPE_CHECKING:
    from stream_detector.detection.models.torch_model import TorchModel
    from stream_detector.detection.scoring import Scorer

NAME = "scorer"
SENSORS = 60
WINDOW_STEPS = (5, 30)
BATCHES = (1, 8, 20, 64, 256, 1024)
REPEAT_SECONDS = 0.3
AGREEMENT = 1e-4
CONTENDERS = ("scorer", "network", "onnxruntime")

Run = Callable[[NDArray[Any]], object]


def built(window_steps: int) -> "tuple[Scorer, TorchModel]":
    """A scorer with random weights, and its network."""
    from benchmarks.broker.bundles import write_bundle
    from benchmarks.broker.load import Load
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.detection.models.torch_model import TorchModel

    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", Load(NAME, "rows", 1, SENSORS, 120.0, 0), window_steps)
        scorer = load_bundle(Path(folder) / "bundle").scorer
    network = scorer._model  # noqa: SLF001 - the network is measured alone
    assert isinstance(network, TorchModel)
    return scorer, network


def onnx_run(network: "TorchModel", window_steps: int) -> Run | None:
    """The network on onnxruntime, one thread; None where that is not installed.

    Raises:
        ValueError: it does not give what torch gives.
    """
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return None
    import torch

    onnxruntime = import_module("onnxruntime")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        file = Path(folder) / "network.onnx"
        # The older exporter keeps the LSTM as one operator; the newer one takes it apart, and that is slower.
        torch.onnx.export(
            network.module.eval(),
            (torch.zeros(2, window_steps, SENSORS),),
            file,
            input_names=["windows"],
            output_names=["drawn"],
            dynamic_axes={"windows": {0: "batch"}},
            dynamo=False,
        )
        exported = file.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])

    def run(windows: NDArray[np.float32]) -> object:
        return session.run(None, {"windows": windows})[0]

    tried = np.random.default_rng(3).normal(size=(33, window_steps, SENSORS)).astype(np.float32)
    difference = float(np.abs(np.asarray(run(tried)) - network.infer(tried)).max())
    if difference > AGREEMENT:
        raise ValueError(f"onnxruntime differs from torch by {difference:g}, at most {AGREEMENT:g} is wanted")
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
    """One entry a batch size; `onnxruntime` is None where it is not installed."""
    from stream_detector.detection.models.fixed_batches import run_in_batches

    scorer, network = built(window_steps)
    other = onnx_run(network, window_steps)
    wide = np.random.default_rng(7).normal(size=(max(BATCHES), window_steps, SENSORS))
    narrow = wide.astype(np.float32)

    def drawn(windows: NDArray[np.float32]) -> object:
        return run_in_batches(network, windows, np.ones(windows.shape, np.bool_)).reconstruction

    contenders: dict[str, tuple[Run, NDArray[Any]]] = {
        "scorer": (scorer.score, wide),
        "network": (drawn, narrow),
    }
    if other is not None:
        contenders["onnxruntime"] = (other, narrow)
    rates: dict[tuple[int, str], list[float]] = {}
    for _ in range(repeats):
        for batch in BATCHES:
            for name, (run, windows) in contenders.items():
                rates.setdefault((batch, name), []).append(per_second(run, windows[:batch]))
    return [
        {"window_steps": window_steps, "batch": batch, "onnxruntime": None}
        | {name: round(statistics.median(rates[batch, name])) for name in contenders}
        for batch in BATCHES
    ]


def table(document: Document) -> str:
    def cell(rate: int | None) -> str:
        return "not installed" if rate is None else f"{rate:,}"

    rows = [
        (f"{line['window_steps']} steps, {line['batch']} at once", *(cell(line[name]) for name in CONTENDERS))
        for line in document["rates"]
    ]
    header = ("windows", "scorer, windows/s", "network, windows/s", "network on onnxruntime")
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
