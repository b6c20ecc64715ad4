"""From "above the threshold" to alarms: episodes with a hold, a greatest length and re-raise."""

from enum import Enum

from stream_detector.detection.config import EpisodeConfig


class Move(Enum):
    """What one step does to an episode. RENEW: cleared, and raised anew in the same step."""

    NONE = 0
    RAISE = 1
    CLEAR = 2
    RENEW = 3


def next_move(raised_step: int | None, step: int, above: bool, config: EpisodeConfig) -> Move:
    """What a closed step does. `raised_step`: when the open episode was raised, None while there is none.

    >>> config = EpisodeConfig(hold_steps=2, max_steps=3)
    >>> [next_move(raised, 10, above, config).name for raised, above in
    ...  ((None, True), (9, False), (8, False), (8, True), (7, True), (7, False))]
    ['RAISE', 'NONE', 'CLEAR', 'NONE', 'RENEW', 'CLEAR']
    """
    if raised_step is None:
        return Move.RAISE if above else Move.NONE
    age = step - raised_step
    if age >= config.max_steps:
        return Move.RENEW if above else Move.CLEAR
    return Move.CLEAR if not above and age >= config.hold_steps else Move.NONE
