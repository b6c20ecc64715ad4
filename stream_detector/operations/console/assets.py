"""Every asset of the plant as the console keeps it: those of this worker step by step, the others by their glances."""

from collections.abc import Callable, Iterable, Sequence

from stream_detector.messages import AssetGlance, from_iso
from stream_detector.operations.console.glances import Held, sample_of
from stream_detector.operations.console.rings import POINTS, AssetRing
from stream_detector.operations.console.views import Sample

MOST_POINTS = 720_000
"""Points kept of all assets together, 25 bytes each; assets beyond it have a short history."""
MIN_POINTS = 60

ELSEWHERE = ""
"""The worker of an asset that left this one, and of which no other has told anything yet."""


class Asset:
    """One asset. `worker` None = this one; `again_within`: seconds between two words about it."""

    def __init__(self, sample: Sample, ring: AssetRing, columns: Sequence[str], worker: str | None) -> None:
        self.sample = sample
        self.received_at = 0.0
        self.columns = tuple(columns)
        self.sensors = len(columns)
        self.ring = ring
        self.version = 0
        self.worker = worker
        self.again_within = 0.0


class Assets:
    """All assets that are known, at most `most`.

    Args:
        bump: gives the next version; called for every change.
        clock: wall clock in epoch seconds.
        most: assets beyond this many are not shown.
        max_cells: values of sensors that are kept of all assets together.
        forget_seconds: an asset of another worker that was silent for longer is gone.
    """

    def __init__(
        self, bump: Callable[[], int], clock: Callable[[], float], most: int, max_cells: int, forget_seconds: float
    ) -> None:
        self._bump = bump
        self._clock = clock
        self._most = most
        self._cells_left = max_cells
        self._points_left = MOST_POINTS
        self._forget_seconds = forget_seconds
        self._known: dict[str, Asset] = {}
        self._own: set[str] = set()
        self._past: dict[str, AssetRing] = {}
        self._reading: dict[str, AssetRing] = {}
        self._heard: dict[str, float] = {}
        self.names_version = 1
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> Asset | None:
        """The asset of this name."""
        return self._known.get(name)

    def names(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self._known)

    def changed(self, since_version: int) -> list[Asset]:
        """Those that changed after a version, by name."""
        found = [asset for asset in self._known.values() if asset.version > since_version]
        return sorted(found, key=lambda asset: asset.sample.asset)

    def own(self) -> list[Held]:
        """The assets of this worker as they stand."""
        return [Held(self._known[name].sample, self._known[name].received_at) for name in self._own]

    def remember(self, sample: Sample) -> None:
        """Takes a step between two observations."""
        known = self._known.get(sample.asset)
        if known is not None:
            known.ring.add(sample)
        else:
            self._add(self._past, sample)

    def read_back(self, sample: Sample) -> None:
        """Takes a step of the past from its topic. It is shown once all of them are there (`past_is_read`)."""
        self._add(self._reading, sample)

    def past_is_read(self) -> None:
        """Put the steps that were read back before what came meanwhile: glances of an asset are newer."""
        for name, ring in self._reading.items():
            known = self._known.get(name)
            if known is None:
                if name in self._past:
                    self._give_back(self._past[name])
                self._past[name] = ring
            elif known.ring.step_seconds != ring.step_seconds:
                self._give_back(ring)
            else:
                ring.append_newer(known.ring)
                self._replace(known, ring)
                known.version = self._bump()
        self._reading = {}

    def _add(self, rings: dict[str, AssetRing], sample: Sample) -> None:
        ring = rings.get(sample.asset)
        if ring is None:
            if len(rings) >= self._most:
                return
            ring = rings[sample.asset] = self._new_ring(columns_of(sample), sample.step_seconds)
        ring.add(sample)

    def heard(self, names: Iterable[str]) -> None:
        """New data of these assets of this worker has come now."""
        self._heard.update(dict.fromkeys(names, self._clock()))

    def own_are(self, names: set[str]) -> None:
        """These are the assets of this worker; those that were are held elsewhere, or gone."""
        self._heard = {name: at for name, at in self._heard.items() if name in names}
        for name in self._own - names:
            self._own.discard(name)
            self._known[name].worker = ELSEWHERE
            self._known[name].version = self._bump()

    def observe(self, samples: Iterable[Sample]) -> None:
        """Takes the newest step of assets of this worker."""
        now = self._clock()
        for sample in samples:
            self._observe(sample, now)

    def _observe(self, sample: Sample, now: float) -> None:
        known = self._known.get(sample.asset)
        if known is None or known.worker is not None:
            taken = self._take_over(sample, now)
            if taken is None:
                return
            known = taken
        elif sample is known.sample or _is_older(sample, known.sample) or sample == known.sample:
            return
        columns = columns_of(sample, known.columns)
        if columns != known.columns or sample.step_seconds != known.ring.step_seconds:
            known.columns = columns
            self._replace(known, self._new_ring(columns, sample.step_seconds))
        known.sensors = len(columns)
        if sample.time > known.sample.time:
            known.received_at = now
        known.sample = sample
        known.ring.add(sample)
        known.version = self._bump()

    def _take_over(self, sample: Sample, now: float) -> Asset | None:
        name, before = sample.asset, self._known.get(sample.asset)
        columns = columns_of(sample)
        if before is None:
            known = self._enter(sample, columns, None)
            if known is None:
                return None
        else:
            known = before
            known.worker = None
            if not known.ring.sensors or known.ring.sensors != columns:
                self._replace(known, self._wider(known.ring, columns, sample.step_seconds))
            known.columns = columns
        self._own.add(name)
        # Of an asset that came with a restart or a rebalance only the plant's own time says how old its data is, and
        # what its worker before said of the same step.
        as_told = before is not None and before.sample.time >= sample.time
        known.received_at = self._heard.get(name, known.received_at if as_told else min(now, sample.time))
        known.sample = sample
        return known

    def take(self, glance: AssetGlance, told_at: float) -> None:
        """How an asset of another worker stands. `told_at`: epoch seconds, by the broker's clock."""
        now = self._clock()
        received_at = min(from_iso(glance.received_at), told_at, now)
        if now - received_at > self._forget_seconds:
            return
        known = self._known.get(glance.asset)
        if known is not None and known.worker is None:
            return
        sample = sample_of(glance)
        if known is None:
            known = self._enter(sample, (), glance.worker)
            if known is None:
                return
        elif received_at < known.received_at and _is_older(sample, known.sample):
            return  # a worker that was suspended tells what it knew then
        known.sample, known.received_at, known.worker = sample, received_at, glance.worker
        known.sensors, known.again_within = glance.sensors, glance.again_within
        known.ring.add(sample)
        known.version = self._bump()

    def touch(self, name: str, version: int) -> None:
        """What people said of it changed."""
        if name in self._known:
            self._known[name].version = version

    def _enter(self, sample: Sample, columns: Sequence[str], worker: str | None) -> Asset | None:
        if len(self._known) >= self._most:
            self.left_out += 1
            return None
        past = self._past.pop(sample.asset, None)
        fits = past is not None and past.step_seconds == sample.step_seconds
        if past is not None and not fits:
            self._give_back(past)
        ring = past if past is not None and fits else self._new_ring(columns, sample.step_seconds)
        self.names_version = self._bump()
        known = self._known[sample.asset] = Asset(sample, ring, columns, worker)
        return known

    def forget(self) -> None:
        """Let go of those of other workers of which nobody has told anything for long."""
        now = self._clock()
        gone = [
            name
            for name, asset in self._known.items()
            if asset.worker is not None and now - asset.received_at > self._forget_seconds
        ]
        for name in gone:
            self._give_back(self._known.pop(name).ring)
            self.names_version = self._bump()

    def _wider(self, ring: AssetRing, columns: Sequence[str], step_seconds: float) -> AssetRing:
        """A ring with room for the sensors, and the curve that the asset had when another worker held it."""
        wider = self._new_ring(columns, step_seconds)
        if ring.step_seconds == step_seconds:
            wider.append_newer(ring)
        return wider

    def _replace(self, known: Asset, ring: AssetRing) -> None:
        self._give_back(known.ring)
        known.ring = ring

    def _new_ring(self, columns: Sequence[str], step_seconds: float) -> AssetRing:
        points = min(POINTS, max(MIN_POINTS, self._points_left))
        if columns and self._cells_left // len(columns) < MIN_POINTS:
            columns = ()
        elif columns:
            points = min(points, self._cells_left // len(columns))
        ring = AssetRing(columns, step_seconds, points)
        self._cells_left -= ring.cells
        self._points_left -= ring.points
        return ring

    def _give_back(self, ring: AssetRing) -> None:
        self._cells_left += ring.cells
        self._points_left += ring.points


def _is_older(sample: Sample, known: Sample) -> bool:
    """Of a silent asset the time is that of its last reading, which lies before the end of the step that it closed."""
    return sample.time < known.time and not sample.silent


def columns_of(sample: Sample, known: Sequence[str] = ()) -> tuple[str, ...]:
    """All sensors where the sample names them, otherwise those it happens to speak of."""
    if sample.sensors:
        return sample.sensors
    return tuple(known) or tuple(top.sensor for top in sample.top_sensors)
