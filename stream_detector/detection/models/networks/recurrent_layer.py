"""A recurrent layer (plain, GRU or LSTM) from torch's arrays to ONNX's operator."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.models.networks.network import Arrays, uniform

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph

Cell = Literal["rnn", "gru", "lstm"]

GATES: dict[Cell, tuple[int, ...]] = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Torch's place of each gate, in ONNX's order: (input, output, forget, cell) of its (input, forget, cell, output);
(update, reset, hidden) of its (reset, update, new)."""


def recurrent_arrays(rng: np.random.Generator, name: str, inputs: int, units: int, cell: Cell) -> Arrays:
    """The arrays of one layer, named as torch names them."""
    rows = units * len(GATES[cell])
    return {
        f"{name}.weight_ih_l0": uniform(rng, (rows, inputs), units),
        f"{name}.weight_hh_l0": uniform(rng, (rows, units), units),
        f"{name}.bias_ih_l0": uniform(rng, (rows,), units),
        f"{name}.bias_hh_l0": uniform(rng, (rows,), units),
    }


def recurrent_layer(graph: "Graph", values: str, arrays: Arrays, name: str, cell: Cell) -> str:
    """(T, B, inputs) -> (T, B, units): the hidden state of every step."""
    of_torch = [arrays[f"{name}.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    weight_in, weight_state, bias_in, bias_state = (_in_order(array, GATES[cell]) for array in of_torch)
    # As in torch, a GRU's reset gate acts on the product, not on the state before it.
    attributes = {"linear_before_reset": 1} if cell == "gru" else {}
    states = graph.node(
        cell.upper(),
        values,
        *(graph.constant(array[None]) for array in (weight_in, weight_state, np.concatenate([bias_in, bias_state]))),
        hidden_size=weight_state.shape[1],
        **attributes,
    )
    return graph.node("Squeeze", states, graph.constant([1]))


def _in_order(array: NDArray[np.float32], gates: tuple[int, ...]) -> NDArray[np.float32]:
    parts = np.split(array, len(gates))
    return np.concatenate([parts[gate] for gate in gates])
