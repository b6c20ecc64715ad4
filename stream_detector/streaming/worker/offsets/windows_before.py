"""Reads the windows of a bundle that is to decide from a record on, as a restart at that record would."""

from collections.abc import Callable

from stream_detector.streaming.readers.translation import Translation
from stream_detector.streaming.worker.offsets.detectors import Detector
from stream_detector.streaming.worker.ports import OpenLog


async def read_windows(
    open_log: OpenLog,
    translation: Translation,
    detector: Detector,
    topic: str,
    number: int,
    offset: int,
    id_term: int,
    ours: Callable[[], bool],
    on_read: Callable[[int], None],
) -> int | None:
    """Begin the partition in the detector's engine, which is to decide from `offset` on.

    Returns from which offset on it has read, in silence: a function of the log (Kafka timestamps) and the bundle. None
    where the partition was taken away meanwhile, as `ours` tells. `on_read` is told how many records were read.

    Raises:
        KafkaError: the brokers cannot be reached.
    """
    if not ours():
        return None
    detector.engine.restore(number, {}, offset, id_term)
    async with open_log() as reader:
        beginning, _ = (await reader.ends({number}))[number]
        low = await reader.low_by_time(number, offset, beginning, detector.rewind_seconds)
        async for records in reader.readings(number, max(low, beginning), offset):
            columns = [record.key for record in records], [record.value for record in records]
            await translation.prepare(columns[1], columns[0])
            if not ours():
                return None  # the engine may hold the partition anew
            batch = translation.batch(
                topic, number, [record.offset for record in records], *columns,
                [record.timestamp for record in records], [record.headers for record in records],
            )  # fmt: skip
            detector.engine.process(batch)
            on_read(len(records))
    return low
