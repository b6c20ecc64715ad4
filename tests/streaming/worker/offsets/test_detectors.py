"""The bundles of one worker: what is kept of them, and what is loaded again."""

import asyncio

import pytest

from stream_detector.errors import BundleError
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from tests.support.event_loop import in_event_loop
from tests.support.pipelines import ScriptedEngine


def detector(bundle_id: str) -> Detector:
    return Detector(ScriptedEngine(), ScoredBy(bundle_id, "fingerprint"))


@in_event_loop
async def test_a_bundle_that_decides_nowhere_any_more_is_let_go() -> None:
    loaded: list[str] = []

    def load(bundle_id: str) -> Detector:
        loaded.append(bundle_id)
        return detector(bundle_id)

    detectors = Detectors(detector("a"), load)
    for bundle_id in "bcbcab":
        for number in range(2):
            detectors.decide(number, await detectors.ready(bundle_id))
    assert "".join(loaded) == "bcbcb"
    assert set(detectors._known) == {"a", "b"}


@in_event_loop
async def test_a_bundle_that_was_not_there_when_it_was_announced_is_looked_for_again_at_the_switch() -> None:
    there = False

    def load(bundle_id: str) -> Detector:
        if not there:
            raise BundleError("no such bundle")
        return detector(bundle_id)

    detectors = Detectors(detector("a"), load)
    with pytest.raises(BundleError):
        await detectors.ready("b")
    detectors.prefetch("b")
    while not detectors._loading["b"].done():
        await asyncio.sleep(0)
    there = True
    assert (await detectors.ready("b")).bundle_id == "b"
