"""A model's arithmetic as an ONNX graph, built from its arrays and run by onnxruntime on one thread.

A serving process needs no training library for this. The graph is built in memory each time a bundle is loaded; it
is no file of the bundle.
"""

from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stream_detector.detection.models.networks import onnx_format

ERRORS_ONLY = 3
INPUT = "windows"


class Graph:
    """Names of tensors go in and out of its methods; `compiled` makes of it what runs."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, array: NDArray[Any] | list[int]) -> str:
        """An array; a list of whole numbers (shapes, axes) becomes int64."""
        name = f"c{len(self._constants)}"
        values = np.array(array, np.int64) if isinstance(array, list) else np.ascontiguousarray(array)
        self._constants.append(onnx_format.tensor(name, values))
        return name

    def node(self, operator: str, *inputs: str, **attributes: onnx_format.Attribute) -> str:
        """The first output of a new node."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(onnx_format.node(operator, inputs, [name], attributes))
        return name

    def linear(self, values: str, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> str:
        """values @ weight.T + bias; weight: (outputs, inputs) as torch keeps it."""
        product = self.node("MatMul", values, self.constant(weight.T))
        return product if bias is None else self.node("Add", product, self.constant(bias))

    def reshape(self, values: str, shape: list[int]) -> str:
        return self.node("Reshape", values, self.constant(shape))

    def transpose(self, values: str, order: list[int]) -> str:
        return self.node("Transpose", values, perm=order)

    def slice(self, values: str, axis: int, start: int, end: int) -> str:
        """values[start:end] along `axis`."""
        ends = [self.constant([number]) for number in (start, end, axis)]
        return self.node("Slice", values, *ends)

    def compiled(
        self, output: str, shape: tuple[int | None, ...], dtype: type[np.float32] | type[np.float64]
    ) -> "Compiled":
        """What runs the graph on an input of that shape; None: of any length there."""
        kind = np.dtype(dtype).name
        inputs, outputs = [onnx_format.value(INPUT, kind, shape)], [onnx_format.value(output, kind, None)]
        return Compiled(onnx_format.model(self._nodes, self._constants, inputs, outputs))


class Compiled:
    """Calls the graph: one array in, one out."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        return cast("NDArray[Any]", self._session.run(None, {INPUT: values})[0])


def matrix_product(weight: NDArray[np.float64]) -> Compiled:
    """(M, K) @ weight, which is (K, N), in float64."""
    graph = Graph()
    return graph.compiled(graph.node("MatMul", INPUT, graph.constant(weight)), (None, len(weight)), np.float64)
