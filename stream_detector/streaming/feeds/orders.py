"""Writes what a group is to do into its log: one control record in every partition of the topic of readings."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import orjson

from stream_detector.decoding.asset_table import TABLE_PREFIX
from stream_detector.decoding.control_records import ANNOUNCE, KEY, SWITCH, WITHDRAW, Order, to_value
from stream_detector.errors import BrokerError, UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.sending import ACKNOWLEDGE_SECONDS


def send_switch(
    settings: Settings,
    order: Order,
    wait: Callable[[], None],
    just_before: Callable[[], None],
    withdraw: str | None = None,
) -> int:
    """Announce the bundle, wait, then write the switches; returns into how many partitions.

    Sending it again is harmless: a switch to the bundle that decides already changes nothing.

    Args:
        settings: names brokers and topic.
        order: what is to hold; its `control` is set here.
        wait: lets the time pass in which workers fetch the bundle.
        just_before: is called before the first switch is written.
        withdraw: a bundle whose switches are taken back where nobody has obeyed them; None = nothing is.

    Raises:
        BrokerError: the topic does not exist, or not every partition took its record.
        UsageError: the group decides by a table of bundles.
    """
    from stream_detector.streaming.clients import librdkafka  # noqa: PLC0415 - a worker seldom needs a second client

    topic, failures = settings.topic_readings, set[int]()
    producer = librdkafka.producer(settings)
    partitions = librdkafka.topics_of(producer, settings).get(topic, [])
    if not partitions:
        raise BrokerError(f"topic {topic} does not exist at {settings.bootstrap}; name another with --bootstrap")

    def write(order: Order) -> None:
        value = to_value(order)
        for number in partitions:

            def on_delivery(error: object, _: object, number: int = number) -> None:
                if error is not None:
                    failures.add(number)

            producer.produce(topic, value, key=KEY, partition=number, on_delivery=on_delivery)
        if producer.flush(ACKNOWLEDGE_SECONDS) or failures:
            which = sorted(failures) or "some"
            again = "rollback --withdraw" if order.control == WITHDRAW else f"promote {order.bundle}"
            raise BrokerError(
                f"{settings.bootstrap} did not take the record for partitions {which} of {topic} within "
                f"{ACKNOWLEDGE_SECONDS:g} s; `stream-detector {again} --bootstrap ...` writes them "
                "again, which is harmless"
            )

    _require_no_table(order.group, librdkafka.committed_metadata(settings, order.group, partitions))
    write(replace(order, control=ANNOUNCE))
    wait()
    if withdraw is not None:
        # Acknowledged before: whoever reads the switch can know what is taken back. And before the alias moves, so that
        # the same command does it again.
        write(replace(order, control=WITHDRAW, bundle=withdraw))
    just_before()
    write(replace(order, control=SWITCH))
    return len(partitions)


def _require_no_table(group: str, metadata: Iterable[str]) -> None:
    """`metadata`: of the group's commits."""
    for text in metadata:
        with suppress(orjson.JSONDecodeError, AttributeError):
            bundle_id = str(orjson.loads(text).get("bundle", ""))
            if bundle_id.startswith(TABLE_PREFIX):
                raise UsageError(
                    f"group {group} decides by a table of bundles ({bundle_id}) and does not obey records in "
                    "its log; change the table's file and start its workers again, or name another --group"
                )
