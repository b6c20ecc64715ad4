"""From "above the threshold" to alarms: episodes with a hold, a greatest length, a rest and re-raise.

The engine takes one step at a time (`next_move`, `over_at`, `rests`); `episodes` takes a whole table of them.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import EpisodeConfig


class Move(Enum):
    """What one step does to an episode (an alarm from its raising to its clearing). RENEW: both in the same step."""

    NONE = 0
    RAISE = 1
    CLEAR = 2
    RENEW = 3


def next_move(
    raised_step: int | None, step: int, above: bool, config: EpisodeConfig, ended_step: int | None = None
) -> Move:
    """The move of a closed step. `raised_step`: the step that raised the open episode; None while none is open.

    `ended_step`: where the last episode of this run was over, None where that does not matter any more.

    >>> config = EpisodeConfig(hold_steps=2, max_steps=3)
    >>> [next_move(raised, 10, above, config).name for raised, above in
    ...  ((None, True), (9, False), (8, False), (8, True), (7, True), (7, False))]
    ['RAISE', 'NONE', 'CLEAR', 'NONE', 'RENEW', 'CLEAR']
    >>> resting = EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=1)
    >>> [next_move(raised, step, True, resting, ended).name for raised, step, ended in
    ...  ((10, 12, None), (None, 12, 12), (None, 13, 12))]
    ['CLEAR', 'NONE', 'RAISE']
    """
    if raised_step is None:
        return Move.RAISE if above and not rests(ended_step, step, config) else Move.NONE
    age = step - raised_step
    if age >= config.max_steps:
        return Move.RENEW if above and age >= config.max_steps + config.rest_steps else Move.CLEAR
    return Move.CLEAR if not above and age >= config.hold_steps else Move.NONE


def rests(ended_step: int | None, step: int, config: EpisodeConfig) -> bool:
    """True while no alarm may be raised, because the run's last one was over at `ended_step`."""
    return ended_step is not None and step < ended_step + config.rest_steps


def over_at(raised_step: int, step: int, config: EpisodeConfig) -> int:
    """The step at which the episode that `step` ends was over; its rest begins there.

    Empty steps, and those that are not scored, may have kept it up for longer than it had to be.
    """
    return min(max(step, raised_step + 1), raised_step + config.max_steps)


def episodes(
    steps: NDArray[np.int64], above: NDArray[np.bool_], runs: NDArray[np.int64], config: EpisodeConfig
) -> NDArray[np.int64]:
    """(N, 2) steps at which alarms are raised (inclusive) and over (exclusive), as the engine decides.

    steps, above, runs: (B,) of the scored steps in order. The end of a run (a gap, an event) ends alarm and rest. One
    that is still up in the last step is held for its `hold_steps`.

    >>> steps, runs, config = np.arange(8), np.zeros(8, np.int64), EpisodeConfig(hold_steps=2, max_steps=3)
    >>> episodes(steps, np.array([1, 0, 0, 1, 1, 1, 1, 0], np.bool_), runs, config).tolist()
    [[0, 2], [3, 6], [6, 8]]
    """
    alarms: list[tuple[int, int]] = []
    raised: int | None = None
    ended: int | None = None
    last, last_run = 0, -1
    for step, is_above, run in zip(steps.tolist(), above.tolist(), runs.tolist(), strict=True):
        if run != last_run:
            if raised is not None:
                alarms.append((raised, over_at(raised, last + 1, config)))
            raised = ended = None
        move = next_move(raised, step, is_above, config, ended)
        if raised is not None and move in (Move.CLEAR, Move.RENEW):
            ended = over_at(raised, step, config)
            alarms.append((raised, ended))
            raised = None
        if move in (Move.RAISE, Move.RENEW):
            raised = step
        last, last_run = step, run
    if raised is not None:
        alarms.append((raised, max(last + 1, raised + config.hold_steps)))
    return np.array(alarms, dtype=np.int64).reshape(-1, 2)
