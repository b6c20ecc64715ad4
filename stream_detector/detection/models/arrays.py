"""Whether arrays that were read are those of a model."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Shapes = dict[str, tuple[int, ...]]


def shapes_of(arrays: Mapping[str, NDArray[Any]]) -> Shapes:
    """The shape of each array, by its name."""
    return {name: array.shape for name, array in arrays.items()}


def require_shapes(arrays: Mapping[str, NDArray[Any]], wanted: Shapes) -> None:
    """Raises ValueError where names or shapes are not the wanted ones."""
    found = shapes_of(arrays)
    if wanted != found:
        raise ValueError(f"the arrays do not fit the model: found {found}, wanted {wanted}")
