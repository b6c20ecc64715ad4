"""The same bundle has the same fingerprint wherever it rounds alike, and another where a single bit differs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.score_fingerprint import score_fingerprint
from stream_detector.detection.scoring import ScoredWindows, Scorer
from tests.engine.test_engine import CountingHead
from tests.support.bundles import small_windows, write_small_bundle

WINDOWS = small_windows(count=2)
SCORED = ScoredWindows(np.array([1.0, 2.0]), np.ones((2, 3)), np.full((2, 3), np.nan))


def test_a_bundle_has_one_fingerprint_however_often_it_is_loaded(tmp_path: Path) -> None:
    written = write_small_bundle(tmp_path / "bundle")
    assert written.score_fingerprint == load_bundle(tmp_path / "bundle").score_fingerprint
    assert len(written.score_fingerprint) == 16


def test_scores_that_round_otherwise_have_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_small_bundle(tmp_path / "bundle")
    score = Scorer.score

    def rounded(self: Any, windows: Any, scaler: Any = None) -> ScoredWindows:
        scored = score(self, windows, scaler)
        return ScoredWindows(np.nextafter(scored.score, np.inf), scored.attribution, scored.expected)

    monkeypatch.setattr(Scorer, "score", rounded)
    assert load_bundle(tmp_path / "bundle").score_fingerprint != written.score_fingerprint


def test_one_bit_of_any_part_counts() -> None:
    plain = score_fingerprint(WINDOWS, SCORED, None, 60.0)
    for name in ("score", "attribution", "expected"):
        array = getattr(SCORED, name).copy()
        array.flat[0] = np.nextafter(np.nan_to_num(array.flat[0]), 9.0)
        parts = {part: getattr(SCORED, part) for part in ("score", "attribution", "expected")} | {name: array}
        assert score_fingerprint(WINDOWS, ScoredWindows(**parts), None, 60.0) != plain


def test_what_the_head_says_counts() -> None:
    class Rounded(CountingHead):
        def advance(self, state: Any, step: Any) -> Any:
            answer = super().advance(state, step)
            probability = float(np.nextafter(answer.probability, 1.0))
            return type(answer)(probability, answer.attribution)

    found = {score_fingerprint(WINDOWS, SCORED, head, 60.0) for head in (None, CountingHead(), Rounded())}
    assert len(found) == 3
