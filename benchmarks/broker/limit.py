"""The limit: plain aiokafka and one decode a record, nothing else. Garbage collector settings as in the product.

python -m benchmarks.broker.limit BOOTSTRAP TOPIC FORM READINGS
"""

import asyncio
import gc
import sys

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer

from benchmarks.broker.progress import Progress
from stream_detector.commands.run import tame_garbage_collector


class Reading(msgspec.Struct, gc=False):
    sensor: str
    time: str | float
    value: float | None


async def consume(bootstrap: str, topic: str, form: str, readings: int) -> None:
    decode_reading = msgspec.json.Decoder(Reading).decode
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        group_id=None,
        max_partition_fetch_bytes=1 << 20,
        check_crcs=False,
    )
    await consumer.start()
    progress = Progress(readings)
    gc.collect()
    tame_garbage_collector()
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=1000, max_records=5000)
            count = 0
            for batch in batches.values():
                if form == "readings":
                    decoded = [decode_reading(record.value) for record in batch]
                    count += len(decoded)
                else:
                    documents = [orjson.loads(record.value) for record in batch]
                    count += sum(len(document["values"]) for document in documents)
            if progress.add(count):
                return
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(consume(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
