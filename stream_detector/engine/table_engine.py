"""Several bundles at work on one log, each for the assets that a table gives it. To others it is one engine.

Every bundle decides about its assets as it would alone on the same log: each has its own grid, clocks, limits and
evictions, so what comes of its assets does not hang on the others. A record is decoded by the bundle that it is for.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct

from stream_detector.bundle.bundle_table import AnyBundle, BundleTable
from stream_detector.decoding.asset_names import AssetNames, fitting
from stream_detector.decoding.asset_table import AssetTable
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.held_table import HeldTable, Seat
from stream_detector.decoding.routing import Router, Share
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.engine.asset_status import statuses
from stream_detector.engine.batch_result import BatchResult
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine
from stream_detector.engine.handling_order import as_array
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import AssetStatus, Outcome, RecordBatch
from stream_detector.engine.partition import heavy_cuts
from stream_detector.engine.parts import Part, joined

ANY_BUNDLE = "any bundle of the table"


class TableSpec(Struct, frozen=True):
    """A table of bundles: `assets` says which bundle (by id) decides for an asset, `specs` what each bundle is.

    `held`: the same lines as `assets`, where they hold since different switches of the one partition that the engine is
    for; None = whoever begins a partition says for all of them since when.
    """

    assets: AssetTable
    specs: Sequence[DetectorSpec]
    held: HeldTable | None = None

    @classmethod
    def of(cls, table: BundleTable, held: HeldTable | None = None) -> "TableSpec":
        return cls(table.assets, [DetectorSpec.of(bundle) for bundle in table.bundles], held)


def engine_of(
    bundle: AnyBundle,
    limits: Limits | None = None,
    keep_steps: bool = False,
    unknown: UnknownPolicies = IGNORING,
    held: HeldTable | None = None,
) -> "Engine | TableEngine":
    """What runs the bundle, or the bundles of the table. `held`: as in `TableSpec`."""
    if isinstance(bundle, BundleTable):
        return TableEngine(TableSpec.of(bundle, held), limits, keep_steps, unknown)
    return Engine(bundle, limits, keep_steps, unknown)


class TableEngine:
    """Live state of the partitions that a worker owns, as `Engine`. An asset belongs to one bundle alone.

    It is that of the line of the table that fits its name most specifically, if the bundle's own glob and the limits'
    fit too; otherwise it is unknown. The limits hold for each bundle by itself.
    """

    def __init__(
        self,
        table: TableSpec,
        limits: Limits | None = None,
        keep_steps: bool = False,
        unknown: UnknownPolicies = IGNORING,
    ) -> None:
        """The same as those of `Engine`. A sensor that a bundle does not know is unknown for its assets."""
        limits = limits or Limits()
        by_id = {spec.bundle_id: spec for spec in table.specs}
        # What is told of one record by several bundles comes in this order.
        seats: list[tuple[str, Seat | None]] = [(owner, None) for owner in sorted(by_id)]
        seat_of: Callable[[str], object] = table.assets.owner
        numbers: dict[object, int] = {owner: number for number, (owner, _) in enumerate(seats)}
        if table.held is not None:
            seats = [(seat.owner, seat) for seat in table.held.seats]
            seat_of, numbers = table.held.seat, {seat: number for number, (_, seat) in enumerate(seats)}
        specs = [by_id[owner] for owner, _ in seats]
        self._seats = [seat for _, seat in seats]
        fits = [fitting(spec.assets, limits.allowed_assets) for spec in specs]

        def owner_of(asset: str) -> int | None:
            number = numbers.get(seat_of(asset))
            return number if number is not None and fits[number](asset) else None

        self._router = router = Router(owner_of, len(specs))

        def names_of(owner: int) -> AssetNames:
            return AssetNames(
                lambda asset: owner != router.nobody and router.owner(asset) == owner,
                lambda name: router.owner(name) != owner,
                ANY_BUNDLE,
            )

        self._engines = [
            Engine(spec, limits, keep_steps, unknown, names_of(number)) for number, spec in enumerate(specs)
        ]
        sensors = dict.fromkeys(sensor for spec in specs for sensor in spec.sensors)
        self._strays = Decoder(list(sensors), names_of(router.nobody), None, unknown)
        self._silent_until: dict[int, int] = {}

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        """Handle a batch: the next records of its partition."""
        return self.process_all([batch], publish_scores)[0]

    def process_all(self, batches: Sequence[RecordBatch], publish_scores: bool = False) -> list[Outcome]:
        """Handle batches of different partitions at once; see `Engine.process_all`."""
        shares = [self._router.shares(batch.keys, batch.values) for batch in batches]
        parts: list[list[Part]] = [[] for _ in batches]
        for number, (engine, seat) in enumerate(zip(self._engines, self._seats, strict=True)):
            mine = [self._since(seat, batch, each[number]) for batch, each in zip(batches, shares, strict=True)]
            for part, found in zip(parts, engine.take(batches, publish_scores, mine), strict=True):
                part.append(found)
        return [
            joined(batch, [*part, self._turn_away(batch, each[-1])])
            for batch, part, each in zip(batches, parts, shares, strict=True)
        ]

    @staticmethod
    def _since(seat: Seat | None, batch: RecordBatch, share: Share) -> Share:
        """Without what lies before the windows that the seat began with: for others a restart reads further back."""
        if seat is None or seat.low is None or not len(batch.offsets) or batch.offsets[0] >= seat.low:
            return share
        begin = int(np.searchsorted(share.places, np.searchsorted(as_array(batch.offsets), seat.low)))
        return Share(share.places[begin:], share.keys[begin:], share.values[begin:])

    def _turn_away(self, batch: RecordBatch, share: Share) -> Part:
        """What is about no asset of ours: unknown or worthless. What is read again was answered for before."""
        result = BatchResult(batch)
        silent_until = self._silent_until.get(batch.partition, 0)
        begin = int(np.searchsorted(share.places, np.searchsorted(as_array(batch.offsets), silent_until)))
        keys, values, places = share.keys[begin:], share.values[begin:], share.places[begin:]
        cuts = sorted({0, len(keys), *heavy_cuts(values)})
        for first, last in pairwise(cuts):
            decoded = self._strays.decode(keys[first:last], values[first:last])
            for reject in decoded.rejects:
                result.reject(int(places[first + reject.index]), reject.readings, reject.reason, reject.detail)
            result.count_decoded(decoded)
        result.counts.received = result.counts.settled
        return Part(dead_letters=result.dead_letters, counts=result.counts, unknown=result.unknown)

    def low(self, partition: int) -> int | None:
        """The oldest offset that live state of any bundle still needs; None where nothing is held."""
        lows = [low for engine in self._engines if (low := engine.low(partition)) is not None]
        return min(lows, default=None)

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0, id_term: int = 0) -> None:
        """Begin a partition anew, before its first batch; see `Engine.restore`.

        Lines that are held have terms for ids of their own.
        """
        self._silent_until[partition] = silent_until
        owners = {asset: self._router.owner(asset) for asset in snapshots}
        for number, engine in enumerate(self._engines):
            mine = {asset: data for asset, data in snapshots.items() if owners[asset] == number}
            seat = self._seats[number]
            engine.restore(partition, mine, silent_until, id_term if seat is None else seat.id_term)

    def retire(self, topic: str, partition: int, asset: str, offset: int) -> Outcome:
        """The asset lives in another partition as of `offset`; see `Engine.retire`."""
        owner = self._router.owner(asset)
        return (
            Outcome() if owner == self._router.nobody else self._engines[owner].retire(topic, partition, asset, offset)
        )

    def snapshots(self, partition: int, processed: int | None = None) -> list[tuple[str, bytes | None]]:
        """Snapshots of all assets of a partition, whatever was acknowledged; see `Engine.snapshots`."""
        return [pair for engine in self._engines for pair in engine.snapshots(partition, processed)]

    def untold(self, partition: int, processed: int) -> list[tuple[str, bytes | None]]:
        """Snapshots that the next outcome of a partition would hold; see `Engine.untold`."""
        return [pair for engine in self._engines for pair in engine.untold(partition, processed)]

    def forget(self, partition: int) -> None:
        """Forget a partition that belongs to another worker now."""
        self._silent_until.pop(partition, None)
        for engine in self._engines:
            engine.forget(partition)

    def status(self, detailed: int | None = None) -> list[AssetStatus]:
        """Every live asset as it stands, those with an alarm up first; see `statuses`."""
        return statuses((pair for engine in self._engines for pair in engine.partitions), detailed)
