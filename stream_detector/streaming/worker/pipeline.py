"""Handles fetched records: runs the engine, has all that comes of them acknowledged, then declares the offset done.

The order is what makes the promise: alarms acknowledged, then scores, dead letters and snapshots acknowledged, then the
offset committed. A crash anywhere in between repeats messages that say the same, and loses none.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from stream_detector.bundle.bundle_table import manifests_of
from stream_detector.decoding.control_records import KEY, Order
from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.decoding.registry_records import RegistryRecords
from stream_detector.engine.outcome import AssetStatus, Outcome, RecordBatch, ScoredSteps
from stream_detector.errors import StalledError, UnknownNameError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.dead_letter_rate import DeadLetterRate
from stream_detector.streaming.clients.producer import Burst, BurstSender, Outgoing
from stream_detector.streaming.readers.translation import Translation, policies_of
from stream_detector.streaming.state.group_facts import BundleSwitch, Departure, Silence, fact_message, newest_switch
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import snapshot_message
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.kept_reader import KeptReader
from stream_detector.streaming.worker.offsets.planning import PartitionPlan, Planner
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.offsets.recovery import to_metadata
from stream_detector.streaming.worker.offsets.successors import Successors
from stream_detector.streaming.worker.offsets.takeover import (
    alarm_message,
    mend_late,
    mend_silences,
    switch_by_record,
)
from stream_detector.streaming.worker.offsets.unacknowledged import Unacknowledged
from stream_detector.streaming.worker.offsets.withdrawal import Withdrawal
from stream_detector.streaming.worker.ports import Clock, DetectionEngine, PipelineObserver
from stream_detector.streaming.worker.silences import Review, judged_by, review_of_switch
from stream_detector.streaming.worker.switching import INTERRUPTED, WITHDRAWN, Switching, in_words
from stream_detector.streaming.worker.transport.fetched import Fetched, parts_of
from stream_detector.streaming.worker.transport.offset_keeper import CommittedOffsets
from stream_detector.streaming.worker.turns import Turns
from stream_detector.streaming.worker.unknown_watch import UnknownWatch

log = logging.getLogger(__name__)

MOST_UNCONFIRMED = 50_000
"""Scores and dead letters that may be on their way at once."""


class Pipeline:
    """Owns the engines and the progress of every assigned partition. All methods run in the main event loop.

    Args:
        detectors: who decides where; its bundle goes with every snapshot, and how it rounds with every commit.
        observer: is told what happens.
        on_failure: is given the error that ends the process.
        on_steps: is given the scored steps of every batch, for those who show them.
        field_mapping: of other people's records to ours.
        registry: reads records by their schemas, before the mapping.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        detectors: Detectors,
        planner: Planner,
        producer: BurstSender,
        observer: PipelineObserver,
        on_failure: Callable[[BaseException], None],
        on_steps: Callable[[Sequence[ScoredSteps]], None] | None = None,
        field_mapping: FieldMapping | None = None,
        registry: RegistryRecords | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self.partitions: dict[int, PartitionProgress] = {}
        self.planning = False
        """An assignment has not taken effect yet."""
        self.tells_operating = False
        """There is a topic for when machines stand."""
        self.left_alone: set[int] = set()
        """Assigned partitions that are not read, for the topic of state has no such partitions."""
        self._detectors = detectors
        self._log = KeptReader(planner.open_log)
        self.switching = Switching(settings.group, detectors, clock, self._log.warm)
        self._planner = planner
        self._producer = producer
        self._observer = observer
        self._on_failure = on_failure
        self._on_steps = on_steps
        self._translation = Translation(field_mapping, registry)
        self._successors = Successors(settings, detectors, self._log, self._translation)
        self._clock = clock
        self.unknown = UnknownWatch(policies_of(settings), clock)
        self._dead_letter_rate = DeadLetterRate(settings.dead_letters_per_second, clock)
        self._epoch = 0
        self._revocations = 0
        # A batch is handled whole before the next one of its partition, a plan or the capture of a flush.
        self._turns = Turns()
        self._flushing = asyncio.Lock()

    @property
    def state_partitions(self) -> int | None:
        """Number of partitions of the topic of state, as far as is known; None = enough."""
        return self._planner.state_partitions

    @state_partitions.setter
    def state_partitions(self, count: int | None) -> None:
        self._planner.state_partitions = count

    @property
    def waiting(self) -> str | None:
        """Why records that were fetched are not read, in words; None while they are."""
        return self._translation.waiting or self.switching.missing

    def fail(self, error: BaseException) -> None:
        self._on_failure(error)

    async def close(self) -> None:
        """The worker ends: give up what reads the log."""
        await self._planner.close()
        await self._log.close()

    def commit_with(self, commit: Callable[[], Awaitable[object]]) -> None:
        """The stream commits by this whenever it is called."""
        self.switching.request_commit = commit

    def interrupt(self) -> None:
        """A rebalance or the end begins: what waits for something else than the brokers stops waiting.

        What it has not handled is read again by whoever owns the partition then.
        """
        self.switching.interrupt()

    async def handle(self, *fetches: Fetched) -> None:
        """Process fetches; returns when their alarms are acknowledged. Raises as `begin`."""
        acknowledged = await self.begin(*fetches)
        if acknowledged is not None:
            await acknowledged

    async def begin(self, *fetches: Fetched) -> Awaitable[None] | None:
        """Process fetches of different partitions; returns when their alarms are on their way, and others may follow.

        The answer is to be awaited: it comes when they are acknowledged. None where there is nothing to wait for.

        Raises, and so does the answer:
            UnknownNameError: one speaks of a name that the bundle does not know, and that is called a fault.
            StalledError: one does not start where the last one ended, or the brokers acknowledge nothing.
        """
        for fetched in fetches:
            # Flushes and rebalances go on while a schema registry keeps us waiting.
            await self._translation.prepare(fetched.columns.values, fetched.columns.keys)
            fetched.has_orders = KEY in fetched.columns.keys
        switches = [self.switching.switches_in(each, self.partitions.get(each.partition)) for each in fetches]
        plain = [fetched for fetched, found in zip(fetches, switches, strict=True) if not found]
        # Where the brokers have not acknowledged what the last batch said, nobody else waits for them.
        later = [fetched for fetched in plain if not self._turns.is_over(fetched.partition)]
        sooner = [fetched for fetched in plain if self._turns.is_over(fetched.partition)]
        acknowledged = [task for group in (sooner, later) for task in await self._handle_together(group)]
        interrupted = False
        for fetched, found in zip(fetches, switches, strict=True):
            if found and interrupted:
                self._break_off(fetched)
            elif found:
                acknowledged += await self._handle_switches(fetched, found)
                interrupted = self._is_broken_off(fetched)
        return asyncio.create_task(_all_of(acknowledged)) if acknowledged else None

    async def _handle_switches(self, fetched: Fetched, switches: Mapping[int, Order]) -> list[asyncio.Task[None]]:
        """`switches`: those in it that are to be obeyed, by offset. Answers as `_handle_together` of the last part."""
        acknowledged: list[asyncio.Task[None]] = []
        for part in parts_of(fetched, {cut for offset in switches for cut in (offset, offset + 1)}):
            await _all_of(acknowledged)
            order = switches.get(part.start)
            if order is not None and not self._is_broken_off(part) and not await self._obey(part, order):
                return []
            acknowledged = await self._handle_together([part])
        return acknowledged

    def _break_off(self, fetched: Fetched) -> None:
        """Nobody waits for what it needs: it is read again after the next plan."""
        progress = self.partitions.get(fetched.partition)
        if progress is not None and progress.epoch == fetched.epoch:
            progress.broken_off = True

    def _is_broken_off(self, fetched: Fetched) -> bool:
        progress = self.partitions.get(fetched.partition)
        return progress is not None and progress.broken_off

    async def _obey(self, part: Fetched, order: Order) -> bool:
        """From this record on the bundle that it names decides in the partition; False where it was interrupted.

        What is before it is committed first. So whatever ends this process, the next one begins before or behind the
        whole switch, as with a worker that is started with another bundle (docs/reliability.md).
        """
        number, offset = part.partition, part.start
        progress = self.partitions.get(number)
        if progress is None or progress.epoch != part.epoch or not self._successors.is_due(part, progress, order):
            return True

        def ours() -> bool:
            return self.partitions.get(number) is progress and progress.epoch == part.epoch

        began = self._clock()
        withdrawal = Withdrawal(self._log, number, offset, order)
        found = await self.switching.ready(number, offset, order, progress, ours, withdrawal)
        if found == INTERRUPTED:
            self._break_off(part)
            return False
        if found == WITHDRAWN:
            log.warning("partition %d: bundle %s does not decide from %d on, for that was taken back behind it",
                        number, order.bundle, offset)  # fmt: skip
            return True
        succession = await self._successors.begin(part, progress, order, withdrawal.beginning, ours)
        if succession is None:
            return True
        switch, detector = succession
        async with self._flushing, self._turns.alone():
            if not ours():
                if self._detectors.of(number) is not detector:
                    detector.engine.forget(number)
                return True
            await self._switch(progress, switch, detector)
        seconds = self._clock() - began
        log.warning("partition %d: %s from %d on, as %s said (%s); decisions paused for %.3f s",
                    number, in_words(order), offset, order.who or "somebody", order.why, seconds)  # fmt: skip
        self._observer.switched(number, seconds)
        return True

    async def _switch(self, progress: PartitionProgress, switch: BundleSwitch, detector: Detector) -> None:
        settings, number, offset = self.settings, switch.partition, switch.offset
        rest = progress.take_unacknowledged()
        await self._acknowledge([_Flushed(number, progress, offset, offset, rest)])
        before, engine = newest_switch(progress.facts), self._detectors.of(number).engine
        snapshots = engine.snapshots(number, offset)
        # Before the switch is written down: behind it a restart does not know who was heard before.
        await self._write_silences(progress, review_of_switch(number, progress, engine, detector.engine, offset))
        facts, bursts = switch_by_record(settings, before, self._detectors.scored(progress).bundle, snapshots, switch)
        for burst in bursts:
            await self._send(burst)
        progress.facts = (*progress.facts, *facts)
        progress.term, progress.next_term, progress.scored_by = switch.term, switch.term + 1, detector.scored_by
        progress.next_id_term = switch.highest_id_term + 1
        progress.known_silent.clear()
        self._detectors.decide(number, detector)
        progress.departures = [
            fact for fact in progress.facts if isinstance(fact, Departure) and fact.offset >= offset
        ]  # fmt: skip
        await self._let_go(number, progress)

    async def _handle_together(self, fetches: Sequence[Fetched]) -> list[asyncio.Task[None]]:
        """Returns when their alarms are on their way: those ends that are still to come."""
        if not fetches:
            return []
        async with self._turns.of_batches([fetched.partition for fetched in fetches]):
            in_hand = [each for fetched in fetches if (each := self._take_in_hand(fetched)) is not None]
            for each in in_hand:
                await self._advance_to_last_part(each)
            ours = [each for each in in_hand if self._is_ours(each)]
            begun = await self._begin_parts(ours)
            later = [
                self._turns.end_later(each.part.partition, self._end_batch(each, said))
                for each, said in begun
                if said is not None and said.alarms.messages
            ]
            for each, said in begun:
                if said is None or not said.alarms.messages:
                    await self._end_batch(each, said)
            for each in ours:
                if each.error is not None:
                    raise each.error
            return later

    async def _advance_to_last_part(self, in_hand: "_InHand") -> None:
        """Handle what of the fetch lies before the offsets at which assets depart, each part as a batch of its own."""
        *before, last = parts_of(in_hand.part, {departure.offset for departure in in_hand.progress.departures})
        for part in before:
            if not self._is_ours(in_hand):
                break
            in_hand.part = part
            for _, said in await self._begin_parts([in_hand]):
                await self._end_part(part, in_hand.progress, said)
        in_hand.part = last

    def _is_ours(self, in_hand: "_InHand") -> bool:
        """A partition may be taken away whenever another one, or an earlier part of it, is waited for."""
        return self.partitions.get(in_hand.part.partition) is in_hand.progress

    def _take_in_hand(self, fetched: Fetched) -> "_InHand | None":
        """None where it does not go on where its partition stands, and is read again by whoever owns that then."""
        progress = self.partitions.get(fetched.partition)
        if progress is None or progress.epoch != fetched.epoch or progress.broken_off:
            return None  # from before a rebalance, or nobody waits for what it needs
        if fetched.start != progress.processed:
            raise StalledError(
                f"partition {fetched.partition}: a fetch starts at {fetched.start}, not at {progress.processed}"
            )
        if progress.in_hand:
            raise StalledError(f"partition {fetched.partition}: the batch at {progress.processed} did not end")
        progress.in_hand = True
        return _InHand(fetched, progress, progress.rebuilding)

    async def _end_batch(self, last: "_InHand", said: "_Said | None") -> None:
        await self._end_part(last.part, last.progress, said)
        last.progress.in_hand = False
        if last.was_rebuilding and not last.progress.rebuilding:
            self._observer.rebuilt(rebuilding=self.rebuilding)

    async def _begin_parts(self, in_hand: "Sequence[_InHand]") -> "list[tuple[_InHand, _Said | None]]":
        """What the engines say of these records, alarms on their way; None where there are none for them.

        Those that end the process are left out: nothing of them is asked any more, or told.
        """
        in_hand = [each for each in in_hand if each.error is None]
        outcomes = self._decide(in_hand)
        begun: list[tuple[_InHand, _Said | None]] = []
        for each in in_hand:
            if each.error is None:
                number = each.part.partition
                outcome = outcomes.get(number)
                said = None if outcome is None else await self._send_alarms(number, outcome, each.progress)
                begun.append((each, said))
        return begun

    async def _end_part(self, part: Fetched, progress: PartitionProgress, said: "_Said | None") -> None:
        if said is not None:
            await self._publish(said, part.end, progress)
        else:
            # Once a control record is committed, the first commit is over: who is there is told before.
            untold = self._detectors.of(part.partition).engine.untold(part.partition, part.end)
            progress.unacknowledged.renew(untold, part.end)
        if len(part.columns):
            progress.newest_ms = int(part.columns.timestamps_ms[-1])
        progress.processed = part.end
        await self._let_go(part.partition, progress)

    async def depart(self, number: int, asset: str) -> None:
        """The asset lives in another partition now: its life in this one ends here, and an open alarm is cleared.

        The offset is written down first, so that every restart and an audit end it at the same record.
        """
        async with self._turns.alone():
            progress = self.partitions.get(number)
            if progress is None or progress.rebuilding or progress.in_hand or self.planning:
                return
            fact = Departure(number, asset, progress.processed)
            await self._send([fact_message(self.settings, fact)])
            progress.facts = (*progress.facts, fact)
            progress.departures.append(fact)
            await self._let_go(number, progress)

    async def _let_go(self, number: int, progress: PartitionProgress) -> None:
        """End the lives of assets whose last offset is reached."""
        for departure in [each for each in progress.departures if each.offset == progress.processed]:
            asset, offset = departure.asset, departure.offset
            progress.departures.remove(departure)
            engine = self._detectors.of(number).engine
            outcome = engine.retire(self.settings.topic_readings, number, asset, offset)
            await self._publish(await self._send_alarms(number, outcome, progress), progress.processed, progress)
            log.info("partition %d: asset %s lives in another partition since offset %d", number, asset, offset)

    def settled(self) -> dict[int, PartitionProgress]:
        """The partitions of which it is known, and told, which assets their engines hold."""
        return {
            number: progress
            for number, progress in self.partitions.items()
            if not progress.rebuilding and self._detectors.shows(number)
        }

    def step_seconds(self, number: int) -> float:
        """The longest step of whoever decides in a partition; 0 where no bundle does."""
        manifest = self._detectors.of(number).manifest
        return 0.0 if manifest is None else max(each.grid.step_seconds for each in manifests_of(manifest))

    def unheard(self, assets: Iterable[AssetStatus]) -> list[Silence]:
        """Assets that are silent since before whoever decides for them now did; those heard last come first.

        `assets`: all that the engines hold. One that has moved, and is among them, is not silent.
        """
        heard, allowed = {status.asset for status in assets}, tuple(self.settings.globs_of_assets)
        found = [
            silence
            for number, progress in self.partitions.items()
            for asset, silence in progress.silences.items()
            if asset not in heard
            and asset not in progress.known_silent
            and judged_by(self._detectors.of(number).manifest, asset, allowed)
        ]
        return sorted(found, key=lambda silence: -silence.heard)

    async def note_silences(self, number: int, progress: PartitionProgress, term: int, review: Review) -> None:
        """Write down who began or ceased to be silent, as it was seen in this term of the partition.

        No alarm waits for that, nor a rebalance; a switch does. What is written while the partition goes to somebody
        else is as what a suspended worker writes (`mend`).
        """
        async with self._flushing:
            gone = self.partitions.get(number) is not progress or progress.term != term
            if gone or progress.rebuilding or self.planning:
                return
            # What an earlier review has found may be written down since.
            evicted = [silence for silence in review.evicted if progress.silences.get(silence.asset) == silence]
            await self._write_silences(progress, review)
            for silence in evicted:
                log.info("partition %d: asset %s is forgotten, it was silent for long", number, silence.asset)
            if evicted:
                self._observer.evicted(len(evicted))

    async def _write_silences(self, progress: PartitionProgress, review: Review) -> None:
        known = progress.silences
        over = [silence for silence in (*review.ended, *review.evicted) if known.get(silence.asset) == silence]
        messages = [fact_message(self.settings, silence) for silence in review.noted]
        await self._send([*messages, *(fact_message(self.settings, silence, taken_back=True) for silence in over)])
        for silence in over:
            del known[silence.asset]
            progress.known_silent.discard(silence.asset)
        known.update({silence.asset: silence for silence in review.noted})
        progress.known_silent |= {silence.asset for silence in review.noted}

    async def mend(
        self, read_other: Callable[[Mapping[int, tuple[int, int]]], Awaitable[Mapping[int, PartitionState]]]
    ) -> None:
        """Write again what another worker, which was suspended, has overwritten since, or what was lost with its topic.

        `read_other`: `LogReader.state_where_other`.
        """
        async with self._flushing, self._turns.alone():  # this worker writes nothing meanwhile
            known = {number: (at.processed, at.state_end) for number, at in self.partitions.items()}
            for number, state in (await read_other(known)).items():
                progress = self.partitions.get(number)
                if progress is None:
                    continue
                if state.until < progress.state_end:
                    progress.state_lost = True
                    continue
                mended = mend_late(
                    self.settings, self._detectors.scored(progress).bundle, number, state, progress.facts
                )
                mended += mend_silences(self.settings, state, progress.silences)
                progress.state_end = state.until
                if mended:
                    log.warning("partition %d: another worker wrote late, %d records of state are written again",
                                number, len(mended))  # fmt: skip
                await self._send(mended)
            await self._say_again()

    async def _say_again(self) -> None:
        """Where the topic of state was lost: write down all facts, and the state of every asset with the next flush."""
        for number, progress in self.partitions.items():
            if progress.state_lost and not progress.rebuilding and not progress.in_hand:
                log.warning("partition %d: the topic of state was lost, everything is written again", number)
                progress.state_lost, progress.state_end = False, 0
                facts = [*progress.facts, *progress.silences.values()]
                await self._send([fact_message(self.settings, fact) for fact in facts])
                snapshots = self._detectors.of(number).engine.snapshots(number, progress.processed)
                progress.unacknowledged.renew(snapshots, progress.processed)

    @property
    def rebuilding(self) -> bool:
        """True while a partition rebuilds its windows."""
        return any(progress.rebuilding for progress in self.partitions.values())

    def _decide(self, in_hand: "Sequence[_InHand]") -> dict[int, Outcome]:
        """{partition: what the engine says of these records}, of those where it is asked."""
        asked: dict[int, tuple[DetectionEngine, list[RecordBatch]]] = {}
        for each in in_hand:
            batch = self._batch_of(each.part)
            if len(batch.offsets):  # else nothing but control records
                engine = self._detectors.of(batch.partition).engine
                asked.setdefault(id(engine), (engine, []))[1].append(batch)
        outcomes: dict[int, Outcome] = {}
        for engine, batches in asked.values():
            started = self._clock()
            found = engine.process_all(batches, self.settings.publish_scores)
            seconds = self._clock() - started
            self._observer.decided(seconds)
            a_record = seconds / sum(len(batch.offsets) for batch in batches)
            outcomes |= {batch.partition: outcome for batch, outcome in zip(batches, found, strict=True)}
            for batch, outcome in zip(batches, found, strict=True):
                self._observer.scored(batch.partition, outcome, a_record * len(batch.offsets))
                if self._on_steps is not None and self._detectors.shows(batch.partition):
                    self._on_steps(outcome.steps)
        for each in in_hand:
            try:
                if each.part.partition in outcomes:
                    self.unknown.saw(outcomes[each.part.partition].unknown)
            except UnknownNameError as error:
                each.error = error  # what was fetched beside it ends in order
        return outcomes

    def _batch_of(self, part: Fetched) -> RecordBatch:
        """The records that are for the engine, in our own form."""
        columns = part.columns
        return self._translation.batch(
            part.topic,
            part.partition,
            columns.offsets,
            columns.keys,
            columns.values,
            columns.timestamps_ms,
            columns.headers,
            has_orders=part.has_orders,
        )

    async def _send_alarms(self, number: int, outcome: Outcome, progress: PartitionProgress) -> "_Said":
        """They are on their way on return."""
        if not outcome.alarms:
            return _Said(outcome, Burst(()))
        scope = self._detectors.of(number).scope
        alarms = [alarm_message(self.settings, number, progress.term, alarm, scope) for alarm in outcome.alarms]
        return _Said(outcome, await self._producer.enqueue(alarms))

    async def _publish(self, said: "_Said", until: int, progress: PartitionProgress) -> None:
        """Alarms are acknowledged on return; the rest is on its way, or waits for the flush."""
        outcome = said.outcome
        if outcome.alarms:
            await self._producer.confirm(said.alarms)
            self._observer.alarms_acknowledged(outcome)
            for alarm in outcome.alarms:
                log.info("alarm %s %s: asset %s, raised at %s", alarm.id, alarm.state, alarm.asset, alarm.raised_at)
        await self._send_the_rest(outcome, progress.unacknowledged)
        progress.unacknowledged.renew(outcome.snapshots, until)

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        """Returns when they are acknowledged."""
        if not messages:
            return
        owners = {number: (progress, progress.state_end) for number, progress in self.partitions.items()}
        places = await self._producer.confirm(await self._producer.enqueue(messages))
        for message, place in zip(messages, places, strict=True):
            found = None if message.partition is None else owners.get(message.partition)
            if message.topic == self.settings.topic_state and found is not None:
                owner, known_end = found
                # In the log that it knows, others may have written too, but nothing was taken away. Messages that are
                # on their way together may arrive in any order.
                owner.state_lost |= place is not None and place < known_end
                owner.state_end += 1

    async def _send_the_rest(self, outcome: Outcome, unacknowledged: Unacknowledged) -> None:
        """Scores, standstills and dead letters: sent now, waited for by the flush, unless too many are on their way."""
        settings = self.settings
        messages = [Outgoing(settings.topic_scores, score.asset.encode(), to_bytes(score)) for score in outcome.scores]
        if self.tells_operating:
            topic = settings.topic_operating
            messages += [Outgoing(topic, change.asset.encode(), to_bytes(change)) for change in outcome.operating]
        for letter in outcome.dead_letters:
            if self._dead_letter_rate.admits():
                messages.append(self._dead_letter_rate.message(settings.topic_dead_letters, letter))
            else:
                self._observer.dead_letter_held_back()
        if not messages:
            return
        unacknowledged.bursts.append(await self._producer.enqueue(messages))
        while unacknowledged.messages > MOST_UNCONFIRMED:
            oldest = unacknowledged.bursts[0]
            await self._producer.confirm(oldest)
            unacknowledged.bursts.remove(oldest)

    async def flush(self) -> None:
        """Wait until all that came of the processed records is acknowledged; then declare them done."""
        async with self._flushing:
            async with self._turns.alone():
                flushed = [
                    _Flushed(number, progress, progress.processed, self._low(number, progress.processed),
                             progress.take_unacknowledged())
                    for number, progress in self.partitions.items()
                    if not (progress.rebuilding or progress.in_hand)
                    and (progress.processed != progress.declared or progress.unacknowledged.snapshots)
                ]  # fmt: skip
            try:
                await self._acknowledge(flushed)
            except BaseException:
                # The next flush declares a later offset, for which it has to wait for these too.
                for part in flushed:
                    part.progress.unacknowledged.take_back(part.unacknowledged)
                raise
            if any(progress.state_lost for progress in self.partitions.values()):
                # What was acknowledged is all that the new topic holds: nothing is done before it holds everything.
                async with self._turns.alone():
                    await self._say_again()
                return
            for part in flushed:
                if self.partitions.get(part.number) is part.progress:
                    part.progress.declare(part.processed, part.low, self._clock())

    async def _acknowledge(self, flushed: Sequence["_Flushed"]) -> None:
        snapshots = []
        for part in flushed:
            for burst in part.unacknowledged.bursts:
                await self._producer.confirm(burst)
            snapshots += [
                snapshot_message(
                    self.settings,
                    self._detectors.scored(part.progress).bundle,
                    part.number,
                    asset,
                    pending.data,
                    pending.offset,
                    part.progress.term,
                )
                for asset, pending in part.unacknowledged.snapshots.items()
            ]
        await self._send(snapshots)

    def _low(self, number: int, processed: int) -> int:
        """The offset from which a successor has to read where `processed` is committed."""
        low = self._detectors.of(number).engine.low(number)
        return processed if low is None else low

    def to_commit(self) -> dict[int, tuple[int, str]]:
        offsets = {}
        for number, progress in self.partitions.items():
            offset = progress.to_commit()
            if offset is not None:
                low = offset if progress.low is None else progress.low
                offsets[number] = (offset, to_metadata(low, self._detectors.scored(progress)))
        return offsets

    def committed(self, offsets: Mapping[int, int]) -> None:
        for number, offset in offsets.items():
            progress = self.partitions.get(number)
            if progress is not None:
                progress.commit_acknowledged(offset, self._clock())
        self._observer.committed()

    def revoke_others(self, kept: set[int]) -> None:
        """Forget the partitions that this worker no longer owns."""
        self._revocations += 1
        for number in set(self.partitions) - kept:
            self._detectors.forget(number)
            del self.partitions[number]
        self._observer.assigned(kept)

    def prepare(self) -> None:
        """Partitions are about to be assigned: their plan waits for nothing that can be made ready before."""
        self._planner.prepare()

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        """(offset to read from, epoch) of every assigned partition; empty where all were taken away meanwhile."""
        self.planning = True
        async with self._turns.alone():
            self.revoke_others(partitions)
            revocations = self._revocations
            committed = await consumer.committed_with_metadata(partitions)
            in_memory = {
                number: progress.processed for number, progress in self.partitions.items() if not progress.in_hand
            }
            plans = await self._planner.plan(partitions, committed, in_memory)
            for plan in plans.values():
                for burst in plan.bursts:
                    await self._send(burst)
            # From here on nothing waits: the plan takes effect as a whole.
            self.planning = False
            if self._revocations != revocations:
                return {}
            self._epoch += 1
            for number, plan in plans.items():
                self._begin(number, plan)
            self._observer.planned(rebuilding=self.rebuilding)
            for number in plans:
                if not self.partitions[number].rebuilding:
                    await self._let_go(number, self.partitions[number])
            self.left_alone = partitions - set(plans)
            return {number: (self.partitions[number].processed, self._epoch) for number in plans}

    def _begin(self, number: int, plan: PartitionPlan) -> None:
        start, snapshots = plan.start, plan.snapshots
        if start.keep_state:
            self.partitions[number].epoch, self.partitions[number].broken_off = self._epoch, False
            return
        detector = plan.detector or self._detectors.configured
        self._detectors.decide(number, detector)
        detector.engine.forget(number)
        switch = newest_switch(plan.facts)
        detector.engine.restore(number, snapshots, start.silent_until, 0 if switch is None else switch.id_term)
        self.partitions[number] = PartitionProgress(
            self._epoch,
            start.offset,
            start.silent_until,
            start.committed,
            term=0 if switch is None else switch.term,
            facts=tuple(plan.facts),
            departures=list(plan.departures),
            state_end=plan.state_end,
            next_term=plan.next_term,
            next_id_term=plan.next_id_term,
            scored_by=detector.scored_by,
            silences=dict(plan.silences),
            known_silent=set(plan.known_silent),
        )
        log.info(
            "partition %d: from %d, in silence up to %d, %d snapshots",
            number, start.offset, start.silent_until, len(snapshots),
        )  # fmt: skip


class _Flushed(Struct, frozen=True):
    """One partition as it stood when a flush began; `low`: from where a successor reads if `processed` is committed."""

    number: int
    progress: PartitionProgress
    processed: int
    low: int
    unacknowledged: Unacknowledged


class _InHand(Struct):
    """A fetch, or the part of it that comes next, on its way; `progress` is that of its partition.

    `was_rebuilding`: when it was fetched. `error`: ends the process.
    """

    part: Fetched
    progress: PartitionProgress
    was_rebuilding: bool
    error: UnknownNameError | None = None


class _Said(Struct, frozen=True):
    """What came of a batch. `alarms`: on their way; no message where it has none."""

    outcome: Outcome
    alarms: Burst


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
