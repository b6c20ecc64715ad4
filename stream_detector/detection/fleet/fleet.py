"""One detector for many machines of a kind: which scale each window is read by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.config import FleetConfig, ScalerConfig, TransformConfig
from stream_detector.detection.fleet.first_steps import FirstSteps
from stream_detector.detection.scaling import Scaler, transform
from stream_detector.detection.slot_arrays import SlotArrays

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ASSET_CENTER, ASSET_SCALE = "asset_center", "asset_scale"


class Fleet(Struct, frozen=True):
    """What training learnt of the machines of a fleet.

    Attributes:
        scaler: the statistic; transform: what windows are put through before.
        machines: {name: row of center and scale}; center, scale: (A, F).
        common: (F,) of a machine as they usually are (`FleetScales.common`).
    """

    config: FleetConfig
    scaler: ScalerConfig
    transform: TransformConfig
    machines: Mapping[str, int]
    center: Floats
    scale: Floats
    common: Scaler

    def arrays(self) -> dict[str, Floats]:
        """What a bundle keeps beside the common scale, by name."""
        return {ASSET_CENTER: self.center, ASSET_SCALE: self.scale}

    def first_steps(self) -> FirstSteps:
        """A machine that is none of them, before its first step."""
        return FirstSteps(self.config, self.scaler, self.common.scale)

    def read(self, machines: NDArray[np.str_], windows: Floats) -> "WindowScales":
        """The scale of each window (B, T, F) of a file, each machine's in the order of time. machines: (B,) names.

        One that is none of the fleet learns its scale from the first of them on, as on the stream.
        """
        names, slots = np.unique(machines, return_inverse=True)
        live = MachineScales(self)
        for slot, name in enumerate(names.tolist()):
            live.begin(slot, name)
        return live.read(slots.reshape(-1), windows)

    def newest(self, windows: Floats) -> Floats:
        """(B, F) the newest step of each window (B, T, F), as the scale reads it."""
        return transform(self.transform, windows).values[:, -1]


class WindowScales(Struct, frozen=True):
    """ready: (B,) which of B windows are of a machine that has a scale.

    Of the R windows that are ready, provisional: (R,) whether it is not fixed yet; scaler: one row each.
    """

    ready: Bools
    provisional: Bools
    scaler: Scaler


@dataclass(slots=True)
class _Rows(SlotArrays):
    """ready: (slots,) whether there is a scale. learning: (slots,) it is not fixed. center, scale: (slots, F)."""

    ready: Bools
    learning: Bools
    center: Floats
    scale: Floats


@dataclass(slots=True)
class MachineScales:
    """The scales of live machines, by slot."""

    fleet: Fleet
    _strangers: dict[int, FirstSteps] = field(default_factory=dict)
    """By slot, those that training never saw."""
    _rows: _Rows = field(init=False)

    def __post_init__(self) -> None:
        none, numbers = np.zeros(0, np.bool_), np.zeros((0, self.fleet.center.shape[1]))
        self._rows = _Rows(none, none, numbers, numbers)

    def begin(self, slot: int, machine: str, saved: bytes | None = None) -> None:
        """A machine begins in the slot; `saved`: what `dump` has given of it."""
        rows, row = self._rows, self.fleet.machines.get(machine)
        rows.make_room(slot)
        self._strangers.pop(slot, None)
        if row is not None:
            rows.ready[slot], rows.learning[slot] = True, False
            rows.center[slot], rows.scale[slot] = self.fleet.center[row], self.fleet.scale[row]
            return
        self._strangers[slot] = self.fleet.first_steps()
        if saved is not None:
            self._strangers[slot].load(saved)
        self._show(slot)

    def end(self, slot: int) -> None:
        """The machine is gone."""
        self._strangers.pop(slot, None)

    def dump(self, slot: int) -> bytes | None:
        """What a restart needs to know of the machine; None of one that training knows, or that has no step yet."""
        stranger = self._strangers.get(slot)
        return None if stranger is None or not stranger.seen else stranger.dump()

    def is_ready(self, slots: Ints) -> Bools:
        """(N,) whether each has a scale."""
        return self._rows.ready[slots]

    def is_learning(self, slots: Ints) -> Bools:
        """(N,) whether the scale of each is not fixed yet."""
        return self._rows.learning[slots]

    def steps_seen(self, slot: int) -> int:
        """How many steps the scale of a stranger has been learnt from; 0 of a machine that training knows."""
        stranger = self._strangers.get(slot)
        return 0 if stranger is None else stranger.seen

    def read(self, slots: Ints, windows: Floats) -> WindowScales:
        """The scale of each window (B, T, F), whose machines learn from it, in order. slots: (B,)."""
        rows, common = self._rows, self.fleet.common
        ready, provisional = rows.ready[slots], rows.learning[slots]
        center, scale = rows.center[slots], rows.scale[slots]
        if not provisional.any():
            return WindowScales(ready, provisional, common.of_windows(center, scale))
        learnt_from = np.flatnonzero(provisional)
        for place, values in zip(learnt_from.tolist(), self.fleet.newest(windows[learnt_from]), strict=True):
            slot = int(slots[place])
            ready[place], provisional[place] = rows.ready[slot], rows.learning[slot]
            center[place], scale[place] = rows.center[slot], rows.scale[slot]
            if rows.learning[slot] and self._strangers[slot].learn(values):
                self._show(slot)
        return WindowScales(ready, provisional[ready], common.of_windows(center[ready], scale[ready]))

    def _show(self, slot: int) -> None:
        rows, stranger = self._rows, self._strangers[slot]
        rows.learning[slot] = not stranger.fixed
        rows.ready[slot] = stranger.center is not None
        if stranger.center is not None and stranger.scale is not None:
            rows.center[slot], rows.scale[slot] = stranger.center, stranger.scale
