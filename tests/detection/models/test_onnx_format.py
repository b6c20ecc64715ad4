"""The writer of ONNX models beside the package onnx, message by message."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.networks import graph, onnx_format
from stream_detector.detection.models.networks.graph import Compiled
from stream_detector.detection.models.registry import KINDS, build


@given(st.data(), st.sampled_from(["float32", "float64", "int64"]))
def test_a_tensor_holds_every_value_of_its_array(data: st.DataObject, element: str) -> None:
    array = data.draw(arrays(element, array_shapes(min_dims=0, min_side=0, max_side=4)))
    ours = onnx.TensorProto.FromString(onnx_format.tensor("c1", array))
    assert ours == numpy_helper.from_array(array, "c1")
    assert numpy_helper.to_array(ours).tobytes() == array.tobytes()


def test_an_array_that_is_not_laid_out_row_by_row_is_written_as_what_it_shows() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert onnx.TensorProto.FromString(onnx_format.tensor("c", array)) == numpy_helper.from_array(array, "c")


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.integers(-(2**63), 2**63 - 1)
        | st.floats(width=32, allow_nan=False)
        | st.text(max_size=8)
        | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    ),
    st.lists(st.sampled_from(["", "n1", "n300"])),
)
def test_a_node_has_its_inputs_in_order_and_attributes_of_every_kind(
    attributes: dict[str, onnx_format.Attribute], inputs: list[str]
) -> None:
    ours = onnx.NodeProto.FromString(onnx_format.node("Conv", inputs, ["n2"], attributes))
    assert ours == helper.make_node("Conv", inputs, ["n2"], **attributes)


@pytest.mark.parametrize("shape", [(None, 30, 61), (), None])
@pytest.mark.parametrize(("element", "kind"), [("float32", 1), ("float64", 11)])
def test_a_value_has_a_length_where_that_is_known(
    shape: tuple[int | None, ...] | None, element: str, kind: int
) -> None:
    ours = onnx.ValueInfoProto.FromString(onnx_format.value("windows", element, shape))
    assert ours == helper.make_tensor_value_info("windows", kind, shape)


def test_a_model_is_the_one_that_the_package_makes() -> None:
    weight = np.ones((2, 3), np.float32)
    written = onnx_format.model(
        [onnx_format.node("MatMul", ["windows", "c0"], ["n0"], {})],
        [onnx_format.tensor("c0", weight)],
        [onnx_format.value("windows", "float32", (None, 2))],
        [onnx_format.value("n0", "float32", None)],
    )
    made = helper.make_graph(
        [helper.make_node("MatMul", ["windows", "c0"], ["n0"])],
        "model",
        [helper.make_tensor_value_info("windows", onnx.TensorProto.FLOAT, (None, 2))],
        [helper.make_tensor_value_info("n0", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "c0")],
    )
    theirs = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", onnx_format.OPSET)], ir_version=onnx_format.IR_VERSION
    )
    assert onnx.ModelProto.FromString(written) == theirs


@pytest.mark.parametrize("kind", sorted(kind for kind, place in KINDS.items() if place.startswith("networks.")))
def test_the_shapes_and_types_within_every_network_agree(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    class Kept(Compiled):
        def __init__(self, model: bytes) -> None:
            written.append(model)
            super().__init__(model)

    monkeypatch.setattr(graph, "Compiled", Kept)
    windows: NDArray[np.float32] = np.zeros((16, 32, 3), np.float32)
    build(ModelConfig(kind=kind), 32, 3).run(windows, np.ones(windows.shape, np.bool_))
    (model,) = written
    inferred = onnx.shape_inference.infer_shapes(
        onnx.ModelProto.FromString(model), check_type=True, strict_mode=True, data_prop=True
    )
    assert inferred.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
