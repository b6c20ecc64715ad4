"""Machines that are silent while bundles change: the bundle that decides then has never heard them.

Its engine cannot know them: no reading of theirs is read back, and their snapshots are of another bundle. So it is
written down who is silent and since when (`group_facts.Silence`), while an engine knows it: some time after the last
reading, and for everybody else when a control record changes who decides. It is taken back when the asset is heard
again, is evicted or has moved. No decision goes by it.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import Struct, field

from stream_detector.bundle.bundle_table import AnyManifest, manifest_for
from stream_detector.decoding.asset_names import fitting
from stream_detector.engine.asset_status import statuses
from stream_detector.engine.engine import Engine
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import AssetStatus
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.ports import DetectionEngine

NOTED_AFTER_SECONDS = 30.0
NOTED_AFTER_STEPS = 3
NOTED_AFTER_PAUSES = 2
LATEST_NOTED_SECONDS = 300.0
"""An asset that sends nothing for so long is written down: after so many steps, or of its usual pauses, within these
bounds. Far sooner than anybody is told. Each time costs two records, so a grid that is far finer than the readings must
not make every pause between two of them a silence."""

PAUSES_REMEMBERED = 100
"""A longer pause counts less with each that follows, and little after so many."""

MOST_AT_ONCE = 1_000
"""Of a plant that falls silent as a whole, or is heard again."""


def noted_after_seconds(step_seconds: float, pause_seconds: float = 0.0) -> float:
    """How long an asset with this step, and this usual pause, sends nothing until it is written down.

    >>> noted_after_seconds(1.0), noted_after_seconds(60.0), noted_after_seconds(3600.0)
    (30.0, 180.0, 300.0)
    >>> noted_after_seconds(1.0, pause_seconds=60.0), noted_after_seconds(1.0, pause_seconds=3600.0)
    (120.0, 300.0)
    """
    usual = max(NOTED_AFTER_SECONDS, NOTED_AFTER_STEPS * step_seconds, NOTED_AFTER_PAUSES * pause_seconds)
    return min(usual, LATEST_NOTED_SECONDS)


def usual_pause(before_seconds: float, pause_seconds: float) -> float:
    """How long an asset sends nothing at times, now that it has paused for so long.

    >>> usual_pause(1.0, 60.0), usual_pause(60.0, 1.0)
    (60.0, 59.4)
    """
    return max(before_seconds * (1 - 1 / PAUSES_REMEMBERED), pause_seconds)


class Review(Struct, frozen=True):
    """What is to be written down, and taken back; `evicted`: because nothing was heard of them for too long."""

    noted: list[Silence] = field(default_factory=list)
    ended: list[Silence] = field(default_factory=list)
    evicted: list[Silence] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.noted or self.ended or self.evicted)


def review(
    number: int,
    progress: PartitionProgress,
    engines: Mapping[int, Mapping[str, AssetStatus]],
    quiet: Mapping[str, float],
    limits: Limits,
) -> Review:
    """Who begins or ceases to be silent in a partition; notes in `progress` whom its engine knows.

    Args:
        number: of the partition.
        progress: of the partition.
        engines: the assets that the worker's engines hold, by name, of each partition.
        quiet: those of this partition that have sent nothing for long enough, with their watermarks.
        limits: say when an asset is evicted, and how many may be.
    """
    found, silences, held = Review(), progress.silences, engines.get(number, {})
    for asset, watermark in quiet.items():
        known = silences.get(asset)
        if (known is None or known.heard != watermark) and len(found.noted) < MOST_AT_ONCE:
            found.noted.append(Silence(number, asset, watermark, progress.processed))
    progress.known_silent |= silences.keys() & held.keys()
    for asset, silence in silences.items():
        if asset in held:
            if held[asset].watermark != silence.heard and asset not in quiet:
                found.ended.append(silence)
        elif asset in progress.known_silent:
            found.ended.append(silence)  # the engine has let go of it
        elif any(asset in other and other[asset].watermark > silence.heard for other in engines.values()):
            found.ended.append(silence)  # it has moved to another partition
    if silences.keys() - held.keys():
        over = {silence.asset for silence in found.ended}
        unheard = [each for asset, each in silences.items() if asset not in held and asset not in over]
        found.evicted.extend(_evicted(unheard, progress.processed, held, limits))
    del found.ended[MOST_AT_ONCE:], found.evicted[MOST_AT_ONCE:]  # the next review finds the others
    return found


def _evicted(
    unheard: list[Silence], processed: int, held: Mapping[str, AssetStatus], limits: Limits
) -> Iterable[Silence]:
    """As an engine does, by event time and by records; beyond `max_assets`, those heard longest ago."""
    newest = max((status.watermark for status in held.values()), default=0.0)
    kept: list[Silence] = []
    for silence in sorted(unheard, key=lambda each: -each.heard):
        lags = silence.heard < newest - limits.evict_after_seconds
        unread = silence.offset < processed - limits.evict_after_records
        if (lags and unread) or len(kept) >= limits.max_assets:
            yield silence
        else:
            kept.append(silence)


def review_of_switch(
    number: int, progress: PartitionProgress, before: DetectionEngine, after: DetectionEngine, offset: int
) -> Review:
    """Whom the bundle that decides until `offset` knows, and the one that decides then does not."""
    knew, knows = (_held(number, engine) for engine in (before, after))
    noted = [
        Silence(number, asset, status.watermark, offset)
        for asset, status in knew.items()
        if asset not in knows and (asset not in progress.silences or progress.silences[asset].heard != status.watermark)
    ]
    # Evicted since the last review.
    ended = [progress.silences[asset] for asset in progress.known_silent if asset not in knew]
    return Review(noted, ended)


def _held(number: int, engine: DetectionEngine) -> dict[str, AssetStatus]:
    # Of one partition alone where that can be had: each partition changes over by itself.
    partitions = engine.partitions if isinstance(engine, Engine) else None
    found = engine.status(0) if partitions is None else statuses([each for each in partitions if each[0] == number], 0)
    return {status.asset: status for status in found if status.partition == number}


def judged_by(manifest: AnyManifest | None, asset: str, allowed: tuple[str, ...]) -> bool:
    """Whether anybody would decide about the asset if it were heard. `allowed`: globs of the settings."""
    mine = None if manifest is None else manifest_for(manifest, asset)
    if mine is None:
        return manifest is None
    return _fits(mine.assets, allowed)(asset)


_fits = lru_cache(64)(fitting)
