"""Writes what a group is to do into its log: one control record in every partition of the topic of readings."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import orjson
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from stream_detector.decoding.asset_table import TABLE_PREFIX
from stream_detector.decoding.control_records import (
    ANNOUNCE,
    DROP_LINE,
    KEY,
    SWITCH,
    SWITCH_LINE,
    WITHDRAW,
    WITHDRAW_LINE,
    Order,
    to_value,
)
from stream_detector.decoding.held_table import HeldTable
from stream_detector.errors import BrokerError, UsageError
from stream_detector.names import listed
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import committed_metadata
from stream_detector.streaming.feeds.sending import ACKNOWLEDGE_SECONDS
from stream_detector.streaming.readers.log_reader import LogReader, open_log_reader
from stream_detector.streaming.state.group_facts import newest_switch
from stream_detector.streaming.topics.topics import existing_partitions

NO_TABLE = (
    "group {group} decides by one bundle for all of its assets; to let another one decide for {assets!r} alone, start "
    "its workers with a table that has a line '*' for the one of now (docs/deploy.md), and give this command again"
)


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
        order: what is to hold. Its `control` is set here, unless it takes a line out.
        wait: lets the time pass in which workers fetch the bundle.
        just_before: is called before the first switch is written.
        withdraw: a bundle whose switches are taken back where nobody has obeyed them; None = nothing is.

    Raises:
        BrokerError: the topic does not exist, or not every partition took its record.
        UsageError: the group decides by a table of bundles, and the order is of no line of it; or the other way round.
    """
    from stream_detector.streaming.clients import librdkafka  # noqa: PLC0415 - a worker seldom needs a second client

    topic, failures = settings.topic_readings, set[int]()
    producer = librdkafka.producer(settings)
    partitions = librdkafka.topics_of(producer, settings).get(topic, [])
    if not partitions:
        raise BrokerError(f"topic {topic} does not exist at {settings.bootstrap}; name another with --bootstrap")

    def write(order: Order) -> None:
        value, now_ms = to_value(order), round(time.time() * 1000)
        # A log in which control records are newer than the readings around them says of these that they are older than
        # they are: what is read back is found by time.
        newest = librdkafka.newest_timestamps(settings, topic, partitions)
        for number in partitions:

            def on_delivery(error: object, _: object, number: int = number) -> None:
                if error is not None:
                    failures.add(number)

            timestamp = min(now_ms, newest.get(number, now_ms))
            producer.produce(topic, value, key=KEY, partition=number, on_delivery=on_delivery, timestamp=timestamp)
        if producer.flush(ACKNOWLEDGE_SECONDS) or failures:
            which = sorted(failures) or "some"
            again = "rollback --withdraw" if order.control == WITHDRAW else f"promote {order.bundle}"
            again = "the same command" if order.of_line else f"`stream-detector {again} --bootstrap ...`"
            raise BrokerError(
                f"{settings.bootstrap} did not take the record for partitions {which} of {topic} within "
                f"{ACKNOWLEDGE_SECONDS:g} s; {again} writes them again, which is harmless"
            )

    _require_kind(order, committed_metadata(settings, order.group, partitions))
    write(replace(order, control=ANNOUNCE))
    wait()
    if withdraw is not None:
        # Acknowledged before: whoever reads the switch can know what is taken back. And before the alias moves, so that
        # the same command does it again.
        write(replace(order, control=WITHDRAW_LINE if order.of_line else WITHDRAW, bundle=withdraw))
    just_before()
    write(order if order.control == DROP_LINE else replace(order, control=SWITCH_LINE if order.of_line else SWITCH))
    return len(partitions)


async def read_lines(
    settings: Settings, open_log: Callable[[Settings], LogReader] = open_log_reader
) -> list[HeldTable]:
    """The table by which the group decides, as each partition's workers have written it down; [] of a single bundle.

    Raises:
        BrokerError: the brokers cannot be reached, or do not let the topic of state be read.
        UsageError: a version before has written down that it is a table, and not of which lines.
    """
    try:
        async with open_log(settings) as reader:
            states = await reader.state_of_all()
    except KafkaError as error:
        raise BrokerError(f"{settings.bootstrap}: {settings.topic_state} cannot be read: {error}") from None
    newest = [switch for state in states.values() if (switch := newest_switch(state.facts)) is not None]
    found = [switch for switch in newest if switch.bundle_id.startswith(TABLE_PREFIX)]
    if any(switch.held is None for switch in found):
        raise UsageError(
            f"which lines the table of group {settings.group} has is not written down yet: bring all of its workers to "
            "this version first"
        )
    return [switch.held for switch in found if switch.held is not None]


def require_one_bundle(settings: Settings) -> None:
    """Raises UsageError where the group of the settings has committed as a table of bundles does.

    Raises:
        BrokerError: the brokers cannot be reached.
    """
    try:
        partitions = asyncio.run(existing_partitions(settings)).get(settings.topic_readings, [])
    except KafkaError as error:
        raise BrokerError(f"{settings.bootstrap}: what topics there are cannot be read: {error}") from None
    tables = _tables(committed_metadata(settings, settings.group, partitions)) if partitions else []
    if tables:
        globs = {glob for held in asyncio.run(read_lines(settings)) for glob, _ in held.in_force}
        lines = listed(map(repr, sorted(globs))) or "as its file has it"
        raise UsageError(
            f"group {settings.group} decides by a table of bundles ({tables[0]}), whose lines are renewed one by one: "
            f"name one with --assets GLOB ({lines}), or another --group"
        )


def _tables(metadata: Iterable[str]) -> list[str]:
    """Ids of the tables that commits name, sorted."""
    ids = set()
    for text in metadata:
        with suppress(orjson.JSONDecodeError, AttributeError):
            ids.add(str(orjson.loads(text).get("bundle", "")))
    return sorted(bundle_id for bundle_id in ids if bundle_id.startswith(TABLE_PREFIX))


def _require_kind(order: Order, metadata: Iterable[str]) -> None:
    """`metadata`: of the group's commits."""
    tables = _tables(metadata)
    if tables and not order.of_line:
        raise UsageError(
            f"group {order.group} decides by a table of bundles ({tables[0]}): say for which line of it with --assets "
            "GLOB, or name another --group"
        )
    if order.of_line and not tables:
        raise UsageError(NO_TABLE.format(group=order.group, assets=order.assets))
