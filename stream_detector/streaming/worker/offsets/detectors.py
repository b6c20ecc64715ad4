"""Which bundle decides in which partition: the one that the worker was started with, until the log names another.

Others come from the registry, and are loaded and checked as at a start. Until a partition's switch is done, the bundle
before it goes on there; a restart may need that one again, for an offset before the switch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.bundle_table import (
    AnyBundle,
    AnyManifest,
    BundleTable,
    TableManifest,
    bundles_of,
    manifests_of,
)
from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.outcome import AssetStatus
from stream_detector.errors import BundleError, StreamDetectorError
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from stream_detector.streaming.worker.ports import DetectionEngine

log = logging.getLogger(__name__)


class Detector(Struct, frozen=True):
    """One bundle at work.

    Attributes:
        engine: decides by it, in the partitions where it does.
        scored_by: says so in commits.
        rewind_seconds: how far its windows, heads and episodes reach back (Kafka timestamps).
        read_until: epoch seconds of the newest step that training has shown to its head; None = it has none.
        bundle: a bundle or a table of them; None where an engine of no bundle stands in.
        scope: what it decides about, for its alarms to say where it is a challenger.
    """

    engine: DetectionEngine
    scored_by: ScoredBy
    rewind_seconds: float = 0.0
    bundle: AnyBundle | None = None
    scope: bytes | None = None
    read_until: float | None = None

    @property
    def bundle_id(self) -> str:
        return self.scored_by.bundle

    @property
    def manifest(self) -> AnyManifest | None:
        """What the bundle, or the table, is."""
        return None if self.bundle is None else self.bundle.manifest

    @property
    def is_table(self) -> bool:
        """Whether several bundles decide, each about its assets."""
        return isinstance(self.manifest, TableManifest)


class Detectors:
    """The bundles of one worker. All methods run in its event loop; loading does not.

    Args:
        configured: of the bundle that the worker was started with.
        load: makes one of the bundle with this id; runs in a thread, and may take seconds.
        tabulate: makes one of a table whose lines hold since different records of a partition.
    """

    def __init__(
        self,
        configured: Detector,
        load: Callable[[str], Detector] | None = None,
        tabulate: Callable[[BundleTable, HeldTable], Detector] | None = None,
    ) -> None:
        self.configured = configured
        self.shown = configured
        """Of what people are told; whoever took up a partition last."""
        self.on_shown: Callable[[AnyManifest], None] = lambda _: None
        self.follows_log: Callable[[], Awaitable[bool | None]] = _unsaid
        """Whether the log decides who decides, rather than this worker's start; None = not said."""
        self._load = load
        self._tabulate = tabulate
        self._deciding: dict[int, Detector] = {}
        self._known = {configured.bundle_id: configured}
        self._loading: dict[str, asyncio.Task[Detector]] = {}

    async def ready(self, bundle_id: str) -> Detector:
        """The bundle, loaded and checked.

        Raises:
            StreamDetectorError: it cannot be used here.
        """
        if bundle_id not in self._known:
            self.prefetch(bundle_id)
            task = self._loading[bundle_id]
            try:
                # Others may wait for it too.
                detector = await asyncio.shield(task)
            except StreamDetectorError:
                raise
            except Exception as error:
                raise BundleError(f"bundle {bundle_id} cannot be loaded: {error!r}") from error
            finally:
                if task.done():
                    self._loading.pop(bundle_id, None)
            self._known.setdefault(bundle_id, detector)
        return self._known[bundle_id]

    async def ready_table(self, held: HeldTable) -> Detector:
        """The bundles of the lines, loaded and checked, for the one partition in which these lines hold.

        Raises:
            StreamDetectorError: one of them cannot be used here.
        """
        bundles = tuple([await self._bundle(owner) for owner in held.owners])
        assert self._tabulate is not None
        return self._tabulate(BundleTable(held.table, bundles), held)

    async def _bundle(self, bundle_id: str) -> Bundle:
        found = self._in_memory(bundle_id) or (await self.ready(bundle_id)).bundle
        assert isinstance(found, Bundle)
        return found

    def _in_memory(self, bundle_id: str) -> Bundle | None:
        """The bundle, where it decides somewhere, alone or in a table, or the worker was started with it."""
        found = (bundles_of(each.bundle) for each in self._in_use() if each.bundle is not None)
        return next((bundle for each in found for bundle in each if bundle.manifest.bundle_id == bundle_id), None)

    async def ready_to_take_over(self, bundle_id: str) -> None:
        """Returns when the bundle, alone or in a table, is loaded and checked. Raises as `ready`."""
        if self._in_memory(bundle_id) is None:
            await self.ready(bundle_id)

    def rewind_of(self, bundle_id: str) -> tuple[float, float | None]:
        """How far windows, heads and episodes of a bundle reach back that is ready (seconds), and its `read_until`."""
        found = self._known.get(bundle_id)
        if found is not None:
            return found.rewind_seconds, found.read_until
        in_use = self._in_use()
        read_until = [each.read_until for each in in_use if each.read_until is not None]
        return max(each.rewind_seconds for each in in_use), min(read_until, default=None)

    def prefetch(self, bundle_id: str) -> None:
        """Begin to load it, unless that was begun, or it decides somewhere."""
        begun = self._loading.get(bundle_id)
        failed = begun is not None and begun.done() and (begun.cancelled() or begun.exception() is not None)
        if self._in_memory(bundle_id) is not None or bundle_id in self._known or (begun is not None and not failed):
            return
        task = asyncio.create_task(asyncio.to_thread(self._loaded, bundle_id))
        task.add_done_callback(_look_at)
        self._loading[bundle_id] = task

    def _loaded(self, bundle_id: str) -> Detector:
        if self._load is None:
            raise BundleError(
                f"bundle {bundle_id} is to decide, and no registry is known to fetch it from; set "
                "STREAM_DETECTOR_REGISTRY, or start the worker with --bundle REGISTRY/ID"
            )
        return self._load(bundle_id)

    def of(self, number: int) -> Detector:
        """Who decides in a partition."""
        return self._deciding.get(number, self.configured)

    def scored(self, progress: PartitionProgress) -> ScoredBy:
        """Who decides in the partition that has this progress, as commits say it."""
        return progress.scored_by or self.configured.scored_by

    def decide(self, number: int, detector: Detector) -> None:
        """From now on the detector decides in the partition; what others hold of it is forgotten."""
        before = self.of(number)
        if before is not detector:
            before.engine.forget(number)
        self._deciding[number] = detector
        self._keep_what_decides()
        if detector is not self.shown and detector.manifest is not None:
            # Each partition has its own detector where a line of a table was changed in it.
            news = detector.bundle_id != self.shown.bundle_id
            self.shown = detector
            if news:
                self.on_shown(detector.manifest)

    def forget(self, number: int) -> None:
        """The partition belongs to another worker now."""
        self.of(number).engine.forget(number)
        self._deciding.pop(number, None)

    def _keep_what_decides(self) -> None:
        """Models take memory, and a group may change bundles for ever: one that is wanted again is loaded again."""
        self._known = {each.bundle_id: each for each in self._in_use() if not each.is_table or each is self.configured}

    def _in_use(self) -> tuple[Detector, ...]:
        return self.configured, *self._deciding.values()

    def shows(self, number: int) -> bool:
        """Whether people are told of what is in this partition: while bundles change, that may have other sensors."""
        mine, shown = self.of(number).manifest, self.shown.manifest
        if isinstance(shown, TableManifest):
            return mine is not None and mine.bundle_id == shown.bundle_id
        return mine is shown or (mine is not None and shown is not None and _sensors(mine) == _sensors(shown))

    def status(self, detailed: int | None = None) -> list[AssetStatus]:
        """Every asset that people are told of, those with an alarm up first; see `Engine.status`."""
        engines = {id(each.engine): each.engine for each in self._in_use()}
        found = [status for engine in engines.values() for status in engine.status(detailed)]
        if len(engines) > 1:
            found = [status for status in found if self.shows(status.partition)]
            found.sort(key=lambda status: not status.alarm_open)
        return found


def _sensors(manifest: AnyManifest) -> list[tuple[str, ...]]:
    return [each.sensors for each in manifests_of(manifest)]


async def _unsaid() -> bool | None:
    return None


def _look_at(task: "asyncio.Task[Detector]") -> None:
    """Or asyncio would log an error that nobody waited for."""
    if not task.cancelled() and task.exception() is not None:
        log.warning("a bundle that is to decide cannot be used here yet: %s", task.exception())
