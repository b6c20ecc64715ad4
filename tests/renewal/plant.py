"""A simulated paper machine that is changed one day, as records of its readings and events, a day at a time.

Readings are stamped with their event time, as a plant's own are: windows are read back by those stamps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pandas as pd
from confluent_kafka import Producer

from trainer.data.simulate import LABEL_COLUMN, NEW_GRADE, SENSORS, TIME_COLUMN, Simulation, simulate

ASSET = "pm-1"
DAY = 86_400.0
BEHIND_MIDNIGHT_SECONDS = 600.0
"""Of a day so much of the next one is sent too, or nobody would know that it is over."""


@dataclass(frozen=True)
class Plant:
    """`table`: as `trainer simulate` writes it; `begin`: epoch seconds of its first midnight."""

    table: pd.DataFrame
    begin: float

    @classmethod
    def simulated(cls, seed: int, days: int, change_day: int) -> "Plant":
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days + 1)
        plan = Simulation(days=days, seed=seed, start=midnight, change_day=change_day)
        return cls(simulate(plan), midnight.timestamp())

    def at(self, day: float) -> float:
        """Epoch seconds of a day of the story."""
        return self.begin + day * DAY

    def between(self, first: float, last: float) -> Iterator[tuple[float, bytes, bool]]:
        """(epoch seconds, value, whether it is an event) of days `first` to `last`; an event comes before its row."""
        moments = pd.to_datetime(self.table[TIME_COLUMN]).dt.tz_localize(None)
        times = moments.to_numpy("datetime64[ms]").astype(np.float64) / 1000
        late = BEHIND_MIDNIGHT_SECONDS
        chosen = (times >= self.at(first) + late * (first > 0)) & (times < self.at(last) + late)
        sensors = [sensor.name for sensor in SENSORS]
        part = self.table[chosen]
        for time, moment, label, row in zip(
            times[chosen],
            part[TIME_COLUMN],
            part[LABEL_COLUMN],
            part[sensors].to_numpy(np.float64),
            strict=True,
        ):
            if label == 1:
                yield time, orjson.dumps({"time": moment, "event": "break"}), True
            values = dict(zip(sensors, (None if np.isnan(value) else value for value in row.tolist()), strict=True))
            yield time, orjson.dumps({"time": moment, "values": values}), False


def send(bootstrap: str, readings: str, events: str, plant: Plant, first: float, last: float) -> None:
    """Everything of these days, acknowledged; events go to both topics."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "queue.buffering.max.messages": 1_000_000})
    for time, value, is_event in plant.between(first, last):
        producer.produce(readings, value, ASSET.encode(), timestamp=round(time * 1000))
        if is_event:
            producer.produce(events, value, ASSET.encode())
    if producer.flush(60):
        raise RuntimeError(f"{bootstrap} did not take the plant's readings within a minute")


def facts_of_the_change() -> str:
    """What is changed, in words."""
    dryer = sum(sensor.section == "dryer" for sensor in SENSORS)
    return (
        f"grade {NEW_GRADE:g} is new, {dryer} sensors of the dryer are replaced, "
        "breaks announce themselves in the press alone"
    )
