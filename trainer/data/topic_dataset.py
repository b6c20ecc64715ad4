"""Training data straight from the topics of a running plant."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stream_detector.errors import DataError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.topic_history import TopicHistory, read_topic_histories, read_topic_history
from trainer.data.dataset import Dataset
from trainer.recipe import DataConfig


def read_topic_dataset(
    settings: Settings,
    config: DataConfig,
    asset: str | None = None,
    since: float | None = None,
    until: float | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> tuple[Dataset, TopicHistory]:
    """The dataset of one asset, and the history that it was made of.

    Args:
        settings: brokers, topics, field mapping.
        config: a recipe's; its columns of time and label are those of files and do not matter here.
        asset: which machine; None where the topic holds only one.
        since: event time, epoch seconds.
        until: event time, epoch seconds, not included.
        wanted: assets that count; None = all.

    Raises:
        BrokerError: the brokers cannot be reached.
        DataError: there is nothing to learn from, or a sensor of the recipe never reported.
    """
    history = read_topic_history(settings, asset, since, until, wanted)
    return to_dataset(history, config, settings.topic_readings), history


def read_fleet_dataset(
    settings: Settings, config: DataConfig, assets: str, wanted: Callable[[str], bool] | None = None
) -> Dataset:
    """The dataset of all assets that the glob `assets` names, one after another (see `read_topic_dataset`).

    Raises:
        BrokerError: the brokers cannot be reached.
        DataError: there is nothing to learn from, or a sensor of the recipe never reported in any of them.
    """
    return to_fleet_dataset(read_topic_histories(settings, assets, wanted), config, settings.topic_readings)


def to_fleet_dataset(histories: Sequence[TopicHistory], config: DataConfig, name: str) -> Dataset:
    """See `read_fleet_dataset`. A sensor that one of the assets lacks is missing in all of its rows."""
    reported = tuple(dict.fromkeys(sensor for history in histories for sensor in history.sensors))
    wanted = config.sensors or tuple(sensor for sensor in reported if sensor not in config.drop_columns)
    absent = [sensor for sensor in wanted if sensor not in reported]
    if absent:
        names = ", ".join(history.asset for history in histories[:10])
        raise DataError(
            f"no reading of {len(absent)} of the recipe's {len(wanted)} sensors in any of {len(histories)} assets "
            f"({names}), the first is {absent[0]!r}; they have {', '.join(reported[:10])}"
        )
    parts = [to_dataset(_widened(history, wanted), config, name) for history in histories]
    digest = hashlib.sha256("".join(part.sha256 for part in parts).encode())
    asset_rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    labels = [part.labels for part in parts if part.labels is not None]
    acted = [np.zeros(len(part), np.bool_) if part.acted is None else part.acted for part in parts]
    return Dataset(
        name,
        digest.hexdigest(),
        wanted,
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate(labels) if labels else None,
        config.labels_mark == "events",
        asset_rows,
        assets=tuple(history.asset for history in histories),
        asset_rows=asset_rows,
        acted=np.concatenate(acted) if any(part.any() for part in acted) else None,
    )


def _widened(history: TopicHistory, sensors: tuple[str, ...]) -> TopicHistory:
    """The history with these sensors."""
    columns = {sensor: column for column, sensor in enumerate(history.sensors)}
    values = np.full((len(history.times), len(sensors)), np.nan)
    for place, sensor in enumerate(sensors):
        if sensor in columns:
            values[:, place] = history.values[:, columns[sensor]]
    return replace(history, sensors=sensors, values=values)


def to_dataset(history: TopicHistory, config: DataConfig, name: str) -> Dataset:
    """See `read_topic_dataset`."""
    columns = {sensor: column for column, sensor in enumerate(history.sensors)}
    wanted = config.sensors or tuple(sensor for sensor in history.sensors if sensor not in config.drop_columns)
    absent = [sensor for sensor in wanted if sensor not in columns]
    if absent:
        raise DataError(
            f"{history.asset} has no reading of {len(absent)} of the recipe's {len(wanted)} sensors, the first is "
            f"{absent[0]!r}; it has {', '.join(history.sensors[:10])}"
        )
    values = history.values[:, [columns[sensor] for sensor in wanted]]
    for code in config.missing_codes:
        values[values == code] = float("nan")
    # Events mark moments; which rows are anomalous (labels that mark states) no topic says.
    labels = history.events if config.labels_mark == "events" else None
    digest = hashlib.sha256()
    for part in (history.times, values, history.events, *([history.acted] if history.acted.any() else [])):
        digest.update(part.tobytes())
    marks_events = config.labels_mark == "events"
    acted = history.acted if history.acted.any() else None
    return Dataset(name, digest.hexdigest(), wanted, history.times, values, labels, marks_events, acted=acted)
