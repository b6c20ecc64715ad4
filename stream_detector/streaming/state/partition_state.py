"""One partition of the topic of state, as one group reads it: the newest snapshots, and the group's facts."""

from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_facts import (
    SILENT,
    TERM_UNSAID,
    BundleSwitch,
    Departure,
    Fact,
    FactKey,
    FactRecord,
    Silence,
    is_fact,
    parse_fact,
)
from stream_detector.streaming.state.snapshots import SnapshotRecord, read_snapshot


class PartitionState(Struct):
    """Adds up the records of one partition of the topic of state, taken in the order of the log.

    Attributes:
        group: whose records count.
        end: the next offset of the readings: what speaks of later ones belongs to another log.
        until: the next offset of the topic of state that was not read.
    """

    group: str
    end: int
    until: int = 0
    _newest: dict[tuple[str, int, str], SnapshotRecord] = field(default_factory=dict)
    """{(bundle, term, asset): the snapshot that covers most}, not the one written last: a worker that was suspended may
    write long after its successor."""
    _last: dict[str, SnapshotRecord] = field(default_factory=dict)
    """{asset: the snapshot written last}: the one that compaction leaves."""
    _facts: dict[FactKey, FactRecord] = field(default_factory=dict)
    _silences: dict[str, Silence] = field(default_factory=dict)
    """{asset: the newest}. They decide nothing, may be many, and are kept apart from what every decision goes by."""
    _begun: BundleSwitch | None = None
    """The newest switch that was read so far, of another log or taken back since as well."""
    fact_id_term: int = 0
    """The highest of all switches that were read so far, of another log or taken back since as well."""
    snapshot_term: int = -1
    """The highest in which anybody has written a snapshot, of another log as well; -1 = none."""

    def take(self, records: Iterable[KafkaRecord]) -> None:
        for record in records:
            if is_fact(record.key):
                fact = parse_fact(record.key, record.value, record.offset, self.group, record.timestamp)
                if fact is not None and fact.key[0] == SILENT:
                    self._take_silence(fact)
                elif fact is not None:
                    self._facts[fact.key] = self._in_order(fact)
                continue
            snapshot = read_snapshot(record)
            if snapshot is None or snapshot.group != self.group:
                continue
            snapshot = self._dated(snapshot)
            self.snapshot_term = max(self.snapshot_term, snapshot.term)
            if snapshot.offset > self.end:
                continue
            self._last[snapshot.asset] = snapshot
            key = snapshot.bundle_id, snapshot.term, snapshot.asset
            if key not in self._newest or snapshot.offset >= self._newest[key].offset:
                self._newest[key] = snapshot

    def _take_silence(self, record: FactRecord) -> None:
        if isinstance(record.fact, Silence):
            self._silences[record.fact.asset] = record.fact
        else:
            self._silences.pop(str(record.key[-1]), None)

    def _in_order(self, record: FactRecord) -> FactRecord:
        """Note which switch is the newest; one of a version without terms follows those that were there before."""
        switch = record.fact
        if not isinstance(switch, BundleSwitch):
            return record
        if switch.term == TERM_UNSAID:
            switch = replace(switch, term=self.fact_term + 1 if self.fact_term > 0 else 0)
        self.fact_id_term = max(self.fact_id_term, switch.highest_id_term)
        if self._begun is None or switch.order >= self._begun.order:
            self._begun = switch
        return replace(record, fact=switch)

    def _dated(self, snapshot: SnapshotRecord) -> SnapshotRecord:
        begun = self._begun
        others = begun is not None and begun.bundle_id != snapshot.bundle_id
        if snapshot.term == TERM_UNSAID:
            snapshot = replace(snapshot, term=0 if begun is None or others else begun.term)
        late = snapshot.term < self.fact_term or (snapshot.term == self.fact_term and others)
        return replace(snapshot, late=late and snapshot.data is not None)

    @property
    def fact_term(self) -> int:
        """The highest of all switches, also of another log; -1 = none."""
        return -1 if self._begun is None else self._begun.term

    @property
    def facts(self) -> list[Fact]:
        """The facts that hold, in the order in which they were written; those of another log are left out."""
        return self._holding(sorted(self._facts.values(), key=lambda record: record.position))

    def facts_after(self, written: Iterable[Outgoing]) -> list[Fact]:
        """The facts that hold once these messages lie in the topic, too."""
        facts = dict(self._facts)
        for position, message in enumerate(written, self.until):
            record = parse_fact(message.key, message.value, position, self.group)
            if record is not None and record.key[0] != SILENT:
                facts[record.key] = record
        return self._holding(facts.values())

    def _holding(self, records: Iterable[FactRecord]) -> list[Fact]:
        return [record.fact for record in records if record.fact is not None and record.fact.offset <= self.end]

    @property
    def all_facts(self) -> list[Fact]:
        """The facts that hold, silences too, and those that another log left behind."""
        facts = [record.fact for record in self._facts.values() if record.fact is not None]
        return [*facts, *self._silences.values()]

    @property
    def silences(self) -> dict[str, Silence]:
        """{asset: since when it is silent}; those of another log are left out."""
        return {asset: silence for asset, silence in self._silences.items() if silence.offset <= self.end}

    @property
    def switches(self) -> list[BundleSwitch]:
        """The switches of bundle, in the order in which they were made."""
        found = [fact for fact in self.facts if isinstance(fact, BundleSwitch)]
        return sorted(found, key=lambda switch: switch.order)

    @property
    def departures(self) -> list[Departure]:
        """The departures of assets that live in other partitions now."""
        return [fact for fact in self.facts if isinstance(fact, Departure)]

    def live(self) -> list[SnapshotRecord]:
        """The newest snapshot of each asset, bundle and term, without those that were taken back."""
        return [snapshot for snapshot in self._newest.values() if snapshot.data is not None]

    def last_written(self, asset: str) -> SnapshotRecord | None:
        """Of the asset, whatever bundle wrote it: the one that compaction leaves."""
        return self._last.get(asset)

    def written_before(self, switch: BundleSwitch) -> list[SnapshotRecord]:
        """The live snapshots that an earlier bundle left behind, or an earlier service of the same one.

        Bundles that took turns in a version without terms share term 0.
        """
        if switch.of_line:
            return [snapshot for snapshot in self.live() if snapshot.term < switch.since(snapshot.asset)]
        return [
            snapshot
            for snapshot in self.live()
            if snapshot.term < switch.term or (snapshot.term == switch.term and snapshot.bundle_id != switch.bundle_id)
        ]

    def of_service(self, switch: BundleSwitch | None, bundle_id: str | None) -> dict[str, SnapshotRecord]:
        """{asset: newest snapshot, None data included} that the bundle has written in the switch's term; None = 0.

        Of a table whose lines changed: in the terms since which whoever decides for the asset has done so.
        """
        if switch is not None and switch.of_line:
            found: dict[str, SnapshotRecord] = {}
            for snapshot in sorted(self._newest.values(), key=lambda each: (each.offset, each.term)):
                if switch.since(snapshot.asset) <= snapshot.term <= switch.term:
                    found[snapshot.asset] = snapshot
            return found
        term = 0 if switch is None else switch.term
        return {
            asset: found for (bundle, its, asset), found in self._newest.items() if (bundle, its) == (bundle_id, term)
        }

    def written_ms(self, switch: BundleSwitch) -> int | None:
        """When the switch was written down (epoch milliseconds)."""
        return next((record.timestamp_ms for record in self._facts.values() if record.fact == switch), None)
