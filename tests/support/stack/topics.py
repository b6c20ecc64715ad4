"""The content of topics on a broker."""

import asyncio

from stream_detector.settings import Settings
from stream_detector.streaming.readers.topic_reader import TopicReader, TopicRecord


def records_of(bootstrap: str, topic: str, different: int, seconds: float = 20.0) -> list[TopicRecord]:
    """All records from the beginning until so many different values are there; fewer after `seconds`."""

    async def read() -> list[TopicRecord]:
        found: list[TopicRecord] = []
        try:
            async with asyncio.timeout(seconds), TopicReader(Settings.load(bootstrap=bootstrap), [topic]) as reader:
                async for records in reader.follow(quiet_seconds=0.2):
                    found += records
                    if len({record.value for record in found}) >= different:
                        break
        except TimeoutError:
            pass
        return found

    return asyncio.run(read())
