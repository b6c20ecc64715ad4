"""From "above the threshold" to alarms: episodes with a hold, a greatest length, a rest and re-raise."""

from enum import Enum

from stream_detector.detection.config import EpisodeConfig


class Move(Enum):
    """What one step does to an episode. RENEW: cleared, and raised anew in the same step."""

    NONE = 0
    RAISE = 1
    CLEAR = 2
    RENEW = 3


def next_move(
    raised_step: int | None, step: int, above: bool, config: EpisodeConfig, ended_step: int | None = None
) -> Move:
    """What a closed step does. `raised_step`: when the open episode was raised, None while there is none.

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
    """Whether no alarm may be raised in this step, for the last one of the run was over at `ended_step`."""
    return ended_step is not None and step < ended_step + config.rest_steps
