"""Whoever is to decide from a control record on: the bundle alone, or the table with one line changed.

It has read its windows as a restart at that record would, and so have the assets that a line's change leaves alone.
"""

import logging
from collections.abc import Callable

from stream_detector.bundle.bundle_table import TableManifest
from stream_detector.decoding.control_records import DROP_LINE, Order
from stream_detector.decoding.held_table import HeldTable
from stream_detector.settings import Settings
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.readers.translation import Translation
from stream_detector.streaming.state.group_facts import BundleSwitch, newest_switch
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.kept_reader import KeptReader
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.transport.fetched import Fetched

log = logging.getLogger(__name__)


class Successors:
    """Makes them. A record is the first one of its `part` of a fetch.

    Args:
        settings: name the group's limits.
        detectors: who decides now, and has what is to decide ready.
        log: reads it.
        translation: of other people's records to ours.
    """

    def __init__(self, settings: Settings, detectors: Detectors, log: KeptReader, translation: Translation) -> None:
        self._settings = settings
        self._detectors = detectors
        self._log = log
        self._translation = translation

    def is_due(self, part: Fetched, progress: PartitionProgress, order: Order) -> bool:
        """Whether the record changes who decides. A line that the table cannot have is passed over, and said."""
        if not order.of_line:
            return self._detectors.scored(progress).bundle != order.bundle
        held, wanted = self._held(part.partition, progress), None if order.control == DROP_LINE else order.bundle
        if held.owner_of(order.assets) == wanted:
            return False
        try:
            held.changed(order.assets, wanted, progress.next_term, progress.next_id_term, None)
        except ValueError as error:
            log.error("partition %d: the record at %d is passed over: %s",  # noqa: TRY400 - it is said in words
                      part.partition, part.start, error)  # fmt: skip
            return False
        return True

    async def begin(
        self, part: Fetched, progress: PartitionProgress, order: Order, beginning: int, ours: Callable[[], bool]
    ) -> tuple[BundleSwitch, Detector] | None:
        """What is to hold from the record on, and who decides then; all before it is committed.

        Where its windows begin is a function of the log (Kafka timestamps) and the bundle. None where the partition was
        taken away meanwhile, as `ours` tells. `beginning`: its first offset.

        Raises:
            KafkaError: the brokers cannot be reached.
        """
        number, offset = part.partition, part.start
        async with self._log.use() as reader:
            low = await reader.low_by_time(number, offset, beginning, *self._detectors.rewind_of(order.bundle))
            switch, detector = await self._named(part, progress, order, low)
            if not ours():
                return None
            kept, begin = self._undisturbed(switch) if switch.of_line else ({}, low)
            detector.engine.restore(number, kept, offset, switch.id_term)
            if not await self._read(reader, part, max(min(begin, low), beginning), detector, progress, ours):
                return None
        return switch, detector

    async def _named(
        self, part: Fetched, progress: PartitionProgress, order: Order, low: int
    ) -> tuple[BundleSwitch, Detector]:
        number, offset, limits = part.partition, part.start, limits_of(self._settings)
        term, ids = progress.next_term, progress.next_id_term
        if not order.of_line:
            detector = await self._detectors.ready(order.bundle)
            return BundleSwitch(number, offset, order.bundle, low, limits, term, ids, by_record=True), detector
        wanted = None if order.control == DROP_LINE else order.bundle
        held = self._held(number, progress).changed(order.assets, wanted, term, ids, low)
        detector = await self._detectors.ready_table(held)
        return BundleSwitch(number, offset, detector.bundle_id, low, limits, term, ids, True, held), detector

    def _held(self, number: int, progress: PartitionProgress) -> HeldTable:
        """The lines of the table by which the partition is decided, with that since when each of them holds."""
        switch, manifest = newest_switch(progress.facts), self._detectors.of(number).manifest
        assert isinstance(manifest, TableManifest)
        began = switch or BundleSwitch(number, 0, manifest.bundle_id)
        return began.held or HeldTable.begun(manifest.assets.lines, began.term, began.id_term, began.low)

    def _undisturbed(self, switch: BundleSwitch) -> tuple[dict[str, bytes], int]:
        """Snapshots of the assets that the change of a line leaves alone, and from where on their windows are read."""
        number, offset = switch.partition, switch.offset
        engine = self._detectors.of(number).engine
        kept = switch.undisturbed(engine.snapshots(number, offset))
        low = engine.low(number) if kept else None
        return kept, offset if low is None else low

    async def _read(
        self,
        reader: LogReader,
        part: Fetched,
        begin: int,
        detector: Detector,
        progress: PartitionProgress,
        ours: Callable[[], bool],
    ) -> bool:
        """Read `begin .. part.start` in silence; False where the partition was taken away meanwhile."""
        topic, number = part.topic, part.partition
        async for records in reader.readings(number, begin, part.start):
            columns = [record.key for record in records], [record.value for record in records]
            await self._translation.prepare(columns[1], columns[0])
            if not ours():
                return False  # the engine may hold the partition anew
            batch = self._translation.batch(
                topic, number, [record.offset for record in records], *columns,
                [record.timestamp for record in records], [record.headers for record in records],
            )  # fmt: skip
            detector.engine.process(batch)
            progress.windows_read += len(records)
        return True
