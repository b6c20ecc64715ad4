"""When machines stood, for the ledger: by a bundle's [operating], and the readings that their topic still holds.

Workers tell it themselves (`operations/ledger/operating.py`); this is for the time before they did, and for a bundle
that did not decide then.
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.detection.config import LeadConfig
from stream_detector.detection.event_cost import while_running
from stream_detector.detection.grid.steps import step_of
from stream_detector.detection.grid.windows import not_running_steps
from stream_detector.errors import BundleError, UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicReader


class Standstills:
    """Knows the steps in which each asset's machine did not run; the ledger's `Standing`.

    Args:
        idle: asset -> (K,) its steps.
        step_seconds: of the bundle's grid.
        lead: of the bundle.
    """

    def __init__(self, idle: Mapping[str, NDArray[np.int64]], step_seconds: float, lead: LeadConfig) -> None:
        self._idle = idle
        self._step_seconds = step_seconds
        self._lead = lead

    def before(self, asset: str, time: float) -> bool:
        """Whether the machine stood in every step of the lead window of an event at this time (epoch seconds)."""
        idle = self._idle.get(asset)
        if idle is None:
            return False
        return not while_running([step_of(time, self._step_seconds)], idle, self._lead)[0]


def standstills(collected: HistoryCollector, manifest: Manifest) -> Standstills:
    """By what was collected of the readings; the bundle has a rule that says when a machine runs."""
    rule = manifest.operating_rule
    assert rule is not None
    idle = {}
    for asset in collected.assets:
        past = collected.history(asset)
        place = {sensor: column for column, sensor in enumerate(past.sensors)}
        values = np.full((len(past.times), len(manifest.sensors)), np.nan)
        for column, sensor in enumerate(manifest.sensors):
            if sensor in place:
                values[:, column] = past.values[:, place[sensor]]
        events, times = past.events, past.times
        idle[asset] = not_running_steps(times[~events], values[~events], times[events], manifest.grid, rule)
    return Standstills(idle, manifest.grid.step_seconds, manifest.lead)


def read_standstills(settings: Settings, manifest: Manifest) -> Standstills:
    """Reads the topic of readings from beginning to end.

    Raises:
        BrokerError: the brokers cannot be reached.
    """
    collector = HistoryCollector(settings)

    async def read() -> None:
        async with TopicReader(settings, [settings.topic_readings]) as reader:
            async for records in reader.to_end():
                collector.take(records)

    asyncio.run(read())
    return standstills(collector, manifest)


def leave_out_standing(feed: LedgerFeed, settings: Settings, bundle: Path | None = None) -> None:
    """The ledger counts no event before which the machine stood, whoever says so.

    A note on standard error says how many there were. The topic of readings is read only where it can matter: some
    event was missed, and the bundle has a rule.

    Args:
        feed: has read its topics to the end.
        settings: name the bundle where `bundle` does not.
        bundle: it must be there, and say when the machine runs.

    Raises:
        UsageError: `bundle` does not say it.
        BundleError: `bundle` cannot be read.
        BrokerError: the brokers cannot be reached.
    """
    _by_readings(feed, settings, bundle)
    left_out = sum(feed.ledger.account(name).standing for name in feed.ledger.assets)
    if left_out:
        _note(f"{left_out} events before which the machine did not run do not count")


def _by_readings(feed: LedgerFeed, settings: Settings, bundle: Path | None) -> None:
    folder, ledger = bundle or settings.bundle, feed.ledger
    if folder is None:
        return
    try:
        manifest = load_bundle(folder).manifest
    except (BundleError, UsageError) as error:
        if bundle is not None:
            raise
        _note(f"events count whether the machine ran or not, for the bundle cannot be read: {error}")
        return
    if manifest.operating is None:
        if bundle is not None:
            raise UsageError(f"--bundle {bundle} does not say when the machine runs: its recipe has no [operating]")
        return
    if all(event.caught_by is not None for name in ledger.assets for event in ledger.account(name).events):
        return
    standing = read_standstills(settings, manifest)
    ledger.leave_out_standing(standing)
    feed.challengers.leave_out_standing(standing)


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
