"""A fingerprint of how this machine rounds: two machines have the same one where a bundle's probe gives the same bits.

Processors with other vector instructions, and other versions of the libraries, round float32 sums and functions such as
the exponential otherwise, by about a millionth. Alarms carry their scores in full, so such a difference shows in them.
"""

import hashlib

import numpy as np

from stream_detector.detection.head.head import Head, StepInput
from stream_detector.detection.scaling import FloatArray
from stream_detector.detection.scoring import ScoredWindows

DIGITS = 16
MOST_HEAD_STEPS = 64
"""A head goes step by step; so many meet every function in it."""


def score_fingerprint(windows: FloatArray, scored: ScoredWindows, head: Head | None, step_seconds: float) -> str:
    """16 hex digits of a sha256 over all that comes of the probe windows (B, T, F), the head's answers included."""
    digest = hashlib.sha256()
    for part in (scored.score, scored.attribution, scored.expected):
        digest.update(np.ascontiguousarray(part).tobytes())
    if head is not None:
        digest.update(_head_answers(windows, head, step_seconds).tobytes())
    return digest.hexdigest()[:DIGITS]


def _head_answers(windows: FloatArray, head: Head, step_seconds: float) -> FloatArray:
    """The windows' steps one after another, as if they were one run; an event in the middle starts another."""
    state, answers = head.fresh(), []
    steps = windows.reshape(-1, windows.shape[2])[:MOST_HEAD_STEPS]
    for number, values in enumerate(steps):
        event = number == len(steps) // 2
        answer = head.advance(
            state,
            StepInput(
                step=number,
                time=number * step_seconds,
                values=np.full(len(values), np.nan) if event else values,
                run_position=0 if event else number,
                event=event,
                scorable=not event,
            ),
        )
        answers.append(np.append(answer.attribution, np.nan if answer.probability is None else answer.probability))
    return np.array(answers, np.float64)
