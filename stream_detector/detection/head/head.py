"""The protocol of a probability head: it reads an asset step by step and gives P(event within the lead window).

A head is sequential (clocks since the last event, running base rates), so it is called strictly in order of the steps
of an asset, once for every closed step that is not empty, event steps included. Offline and online call the same code.
"""

from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

HeadState = Any
"""Whatever a head keeps for one asset; only the head looks inside."""


class StepInput(Struct, frozen=True):
    """One closed step of one asset, as a head sees it.

    `values`: (F,) float64, newest step after filling, NaN = missing. `run_position`: steps since the run began, 0 = its
    first; it stops counting at the length of history that a restart can rebuild. `time`: start of the step, epoch
    seconds. `event`: an event lies in this step (its values are all missing); one that comes after its step has closed
    is handed on when it arrives, so its step may be an earlier one. `scorable`: a probability is wanted (not so while
    warming up, nor for an event).
    """

    step: int
    time: float
    values: NDArray[np.float64]
    run_position: int
    event: bool
    scorable: bool


class HeadResult(Struct, frozen=True):
    """`attribution`: (F,) float64, each sensor's part in the probability, which is None where there is none."""

    probability: float | None
    attribution: NDArray[np.float64]


class HeadReach(Struct, frozen=True):
    """What a head wants to read of the steps before its first decision.

    `steps`: what it always looks back at. `read_until`: epoch seconds of the newest step that training has shown to it;
    from there on it would have every step. None: nothing is known of that.
    """

    steps: int = 0
    read_until: float | None = None


class Head(Protocol):
    """`advance` and `follow` mutate the state that they are given; `load(dump(state))` is exact.

    `follow` takes a step that another bundle has decided on, in order: those before the first `advance` of an asset.
    """

    @property
    def reach(self) -> HeadReach: ...

    def fresh(self) -> HeadState: ...

    def follow(self, state: HeadState, step: StepInput) -> None: ...

    def advance(self, state: HeadState, step: StepInput) -> HeadResult: ...

    def dump(self, state: HeadState) -> bytes: ...

    def load(self, data: bytes) -> HeadState: ...
