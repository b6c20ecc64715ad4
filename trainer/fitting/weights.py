"""Holds what there is to learn from against the weights of a network that is to learn it."""

from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import Model
from stream_detector.errors import DataError


def few_windows(model: Model, windows: int) -> tuple[str, ...]:
    """A note where a network has more weights than windows to learn them from; none for other models."""
    weights = _weights_of(model)
    if windows >= weights:
        return ()
    note = (
        f"the network has {weights:,} weights and learnt from {windows:,} windows: it may know them by heart, and only "
        "what nothing was chosen on tells; a longer file, or a smaller network, is safer"
    )
    return (note,)


def demand_values(model: Model, values: int, least: float) -> None:
    """Refuse a training part that is far too short for its network: fewer than `least` values for each weight.

    Raises:
        DataError: it is.
    """
    weights = _weights_of(model)
    if values < least * weights:
        raise DataError(
            f"the training part has about {values:,} values of normal operation, and the network {weights:,} weights: "
            "nothing can be learnt from so few. Give a longer file or a smaller network (model.options), or set "
            f"train.least_values_per_weight below {values / weights:.2g} to fit all the same"
        )


def _weights_of(model: Model) -> int:
    return sum(array.size for array in model.arrays().values()) if isinstance(model, Network) else 0
