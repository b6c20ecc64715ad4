"""Training data straight from the topics of a running plant."""

import hashlib

from stream_detector.errors import DataError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.topic_history import TopicHistory, read_topic_history
from trainer.data.dataset import Dataset
from trainer.recipe import DataConfig


def read_topic_dataset(
    settings: Settings,
    config: DataConfig,
    asset: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> tuple[Dataset, TopicHistory]:
    """The dataset of one asset, and the history that it was made of.

    Args:
        settings: brokers, topics, field mapping.
        config: a recipe's; its columns of time and label are those of files and do not matter here.
        asset: which machine; None where the topic holds only one.
        since: event time, epoch seconds.
        until: event time, epoch seconds, not included.

    Raises:
        BrokerError: the brokers cannot be reached.
        DataError: there is nothing to learn from, or a sensor of the recipe never reported.
    """
    history = read_topic_history(settings, asset, since, until)
    return to_dataset(history, config, settings.topic_readings), history


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
