"""The part of an asset's state that the log alone cannot give back: kept in the topic of state, read at a restart."""

import msgspec

from stream_detector.detection.fleet import first_steps
from stream_detector.detection.grid.grid import Grid
from stream_detector.engine.clock_guard import AGREEING, MOST_REFUSED
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.limits import Limits
from stream_detector.messages import Alarm

VERSION = 1

NUMBER_BYTES = 9
"""Of a whole number, at most."""

WORDS_BYTES = 16_384
"""Of an alarm without the names of its sensors, of the other fields, and of what a head writes beside its arrays."""

WAITING_BYTES = 64
"""Of an expectation that a head keeps until its lead window is over."""

BESIDE_RING_BYTES = 65_536
"""Of what an asset's windows hold beside the ring: positions, and a few records that are held aside."""

LATEST_BYTES = 64
"""Of what the newest score says of one sensor."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Attributes:
    since: offset of the asset's first record; what came before belongs to a life that ended in an eviction.
    until: every record below this offset is covered: what was decided, and which were `refused` or are `held`.
    begin: the asset's records from this offset on give back its windows, those before are not needed.
    windows: what its windows were before that record (`asset_windows.pack`); None: nothing, or not needed.
    refused: offsets of records that rule 1 turned away, except those that were before `begin`; held: of those that it
        holds aside.
    alarm: the raised alarm of the open episode as JSON; alarm_step: the step that raised it.
    ended_step: the step in which the last episode was over, while it rests, else None.
    head: the state of the probability head.
    scale: what the steps of a machine that training never saw have shown of its scale; outlasts an eviction.
    stands: whether the machine stands (rule 10); stood: the newest step in which it did; next_step: as of which step
        that was not yet known. None without rule 10.
    floor: no step before this one is decided, for the asset had been evicted and came back.
    evicted: the offset as of which the asset was let go; None: it lives.
    previous: its life before: offset of the first record, offset as of which it was let go.
    sweeps: when evictions were last looked at: (offset, watermark of the partition).
    """

    version: int = VERSION
    since: int
    until: int
    begin: int = 0
    windows: bytes | None = None
    refused: list[int] = []
    held: list[int] = []
    alarm: bytes | None = None
    alarm_step: int = 0
    ended_step: int | None = None
    head: bytes | None = None
    scale: bytes | None = None
    stands: bool = False
    stood: int | None = None
    next_step: int | None = None
    floor: int | None = None
    evicted: int | None = None
    previous: tuple[int, int] | None = None
    sweeps: list[tuple[int, float]] = []


_DECODER = msgspec.msgpack.Decoder(Snapshot)


def dump(snapshot: Snapshot) -> bytes:
    return msgspec.msgpack.encode(snapshot)


def load(data: bytes) -> Snapshot | None:
    """The snapshot; None where it is damaged or of another version, as if it were not there."""
    try:
        snapshot = _DECODER.decode(data)
        if snapshot.alarm is not None:
            Alarm.model_validate_json(snapshot.alarm)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None
    return snapshot if snapshot.version == VERSION else None


def most_window_bytes(spec: DetectorSpec, limits: Limits) -> int:
    """Head, scale and windows of an asset that are larger together are not kept in its snapshot.

    A full ring fits, unless the limits say less; records that are held aside may be too much.
    """
    grid = Grid(spec.grid, spec.window, len(spec.sensors), limits.slack_steps, limits.slack_cells, spec.operating)
    beside = BESIDE_RING_BYTES + LATEST_BYTES * len(spec.sensors)
    return min(limits.window_bytes, grid.slot_bytes + beside + _head_bytes(spec) + _scale_bytes(spec))


def largest_bytes(spec: DetectorSpec, limits: Limits) -> int:
    """No snapshot of this detector's assets is larger."""
    names = 8 * max((len(sensor.encode()) for sensor in spec.sensors), default=0)
    head_and_windows = max(_head_bytes(spec) + _scale_bytes(spec), most_window_bytes(spec, limits))
    return WORDS_BYTES + names + head_and_windows + NUMBER_BYTES * (MOST_REFUSED + AGREEING)


def _scale_bytes(spec: DetectorSpec) -> int:
    return 0 if spec.fleet is None else first_steps.most_bytes(len(spec.sensors))


def _head_bytes(spec: DetectorSpec) -> int:
    head = 0 if spec.head is None else len(spec.head.dump(spec.head.fresh()))
    return head + WAITING_BYTES * (spec.lead.until_steps + 1)
