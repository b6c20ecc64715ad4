"""Closed steps to alarms: windows, scores, the head, episodes. The stream and `score_frame` decide with this alone."""

import math
from collections.abc import Iterator

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.detection.episodes import Move, next_move, over_at, rests
from stream_detector.detection.fleet.fleet import MachineScales, WindowScales
from stream_detector.detection.grid.closed_steps import (
    END,
    KINDS,
    LATE_EVENT,
    NOT_RUNNING,
    STEP,
    STOP,
    Closings,
    Stretches,
    concatenate,
    select,
)
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.windows import gather, scorable, scorable_of
from stream_detector.detection.head.head import Head, HeadState, StepInput
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine.alarm_messages import AlarmMessages
from stream_detector.engine.assets.asset_windows import AssetWindows
from stream_detector.engine.assets.latest_scores import LatestScores
from stream_detector.engine.assets.snapshots import Snapshot
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.outcome import Closed, ScoredSteps
from stream_detector.messages import Alarm, OperatingChange, Score

PENDING_BYTES = 32 * 2**20
"""Windows are scored when so many wait, or when the batch ends."""

GATHERED_BYTES = 8 * 2**20
"""So much of windows is read from the grid at once, for reading takes several times their size."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Decisions(Struct):
    """Decisions since the last `take`; messages and steps come with the `record` of the closing that they follow from.

    `changed`: slots whose episode, head or scale is no longer that of the last snapshot.
    """

    alarms: list[tuple[int, Alarm]] = field(default_factory=list)
    scores: list[tuple[int, Score]] = field(default_factory=list)
    operating: list[tuple[int, OperatingChange]] = field(default_factory=list)
    closed: Closed = field(default_factory=Closed)
    changed: set[int] = field(default_factory=set)
    results: list[tuple[Ints, ScoredSteps]] = field(default_factory=list)


class DecisionState(Struct):
    """One asset's decision state: its open alarm, the step that raised it, the one that its rest began in, its head.

    `id_term`: goes into the ids of its alarms. `running`: what was told last of its machine; None: nothing since the
    start.
    """

    asset: str
    id_term: int = 0
    alarm: Alarm | None = None
    alarm_step: int = 0
    ended_step: int | None = None
    head: HeadState = None
    running: bool | None = None


class Decider:
    """Decides for the slots of one grid. `keep_results`: decisions hold every scored step."""

    def __init__(
        self, spec: DetectorSpec, grid: Grid, publish_scores: bool = False, keep_results: bool = False
    ) -> None:
        self.publish_scores = publish_scores
        self.states: dict[int, DecisionState] = {}
        self._spec = spec
        self._keep_results = keep_results
        self._grid = grid
        self._messages = AlarmMessages(spec, grid.steps)
        self._pending: list[tuple[Closings, WindowRows]] = []
        self._pending_bytes = 0
        self._decisions = Decisions()
        self.latest = LatestScores.of(len(spec.sensors))
        self.scales = None if spec.fleet is None else MachineScales(spec.fleet)

    def admit(
        self,
        slot: int,
        asset: str,
        known: Snapshot | None = None,
        windows: AssetWindows | None = None,
        scale: bytes | None = None,
        id_term: int = 0,
    ) -> None:
        """An asset begins, with what its snapshot knows, and what is known of its scale. id_term: as in its state."""
        state, head = DecisionState(asset, id_term), self._spec.head
        if known is not None:
            state.ended_step = known.ended_step
        if known is not None and known.alarm is not None:
            state.alarm, state.alarm_step = Alarm.model_validate_json(known.alarm), known.alarm_step
        if head is not None:
            state.head = head.fresh() if known is None or known.head is None else head.load(known.head)
        self.states[slot] = state
        self.latest.begin(slot, busy=state.alarm is not None or state.ended_step is not None)
        if windows is not None:
            self.latest.write(slot, windows.latest)
        if self.scales is not None:
            self.scales.begin(slot, asset, scale)

    def release(self, slot: int) -> tuple[bytes | None, Alarm | None]:
        """The asset is evicted. Returns what is known of its scale, and its open alarm, which is cleared."""
        self.flush()
        scale = self.dump_scale(slot)
        cleared = self._cleared(slot, int(self._grid.positions.next_step[slot]))
        self.drop(slot)
        return scale, cleared

    def drop(self, slot: int) -> None:
        """Forget an asset without a message."""
        del self.states[slot]
        self._decisions.changed.discard(slot)
        if self.scales is not None:
            self.scales.end(slot)

    def dump_head(self, state: DecisionState) -> bytes | None:
        return None if self._spec.head is None else self._spec.head.dump(state.head)

    def dump_scale(self, slot: int) -> bytes | None:
        return None if self.scales is None else self.scales.dump(slot)

    def take(self) -> Decisions:
        """All decisions since the last call."""
        self.flush()
        decisions, self._decisions = self._decisions, Decisions()
        return decisions

    def add(self, closings: Closings) -> None:
        """Takes what has just closed; the windows are read from the grid now, before it goes on."""
        spec, closed = self._spec, self._decisions.closed
        if spec.operating is not None:
            self._tell_operating(closings)
        steps, events, _, late_events, stops, idle = np.bincount(closings.kind, minlength=len(KINDS)).tolist()
        closed.not_running += idle + stops
        if idle:
            closings = select(closings, closings.kind != NOT_RUNNING)
        wanted = scorable(spec.window, closings)
        is_step = closings.kind == STEP
        warming_up = int((is_step & (closings.step - closings.run_start + 1 < spec.window.shortest)).sum())
        closed.warming_up += warming_up
        closed.off_stride += steps - warming_up - int(np.count_nonzero(wanted))
        closed.event += events
        closed.late_events += late_events
        if spec.head is None and not wanted.all():
            closings = select(closings, wanted | ~is_step)
        self._await_scores(closings)

    def add_stretches(self, stretches: Stretches) -> None:
        """As `add`, with work for the windows alone where no head reads the other steps."""
        if self._spec.head is not None:
            self.add(stretches.apart())
            return
        window, closed = self._spec.window, self._decisions.closed
        wanted = scorable_of(window, stretches)
        before_first = stretches.run_start + window.shortest - 1 - stretches.first
        warming_up = int(np.minimum(np.maximum(before_first, 0), stretches.count).sum())
        closed.warming_up += warming_up
        closed.off_stride += int(stretches.count.sum()) - warming_up - len(wanted)
        self._await_scores(wanted)

    def _await_scores(self, closings: Closings) -> None:
        """The windows that end here are scored with the next flush."""
        for part, windows in self._windows(closings):
            self._pending.append((part, windows))
            self._pending_bytes += windows.value_bytes
            if self._pending_bytes > PENDING_BYTES:
                self.flush()

    def _windows(self, closings: Closings) -> Iterator[tuple[Closings, WindowRows]]:
        """The closings in parts, in order, with the windows that end there."""
        window = self._spec.window
        most = max(GATHERED_BYTES // (8 * window.steps * self._grid.sensors), 1)
        for begin in range(0, len(closings), most):
            part = closings if len(closings) <= most else select(closings, slice(begin, begin + most))
            yield part, gather(self._grid, window, part)

    def follow(self, closings: Closings) -> None:
        """Heads read what others have decided; nothing is said of it."""
        head, closings = self._spec.head, select(closings, closings.kind != NOT_RUNNING)
        if head is None:
            return
        for part, windows in self._windows(closings):
            newest = windows.newest
            scored = scorable(self._spec.window, part) & ~np.isnan(newest).all(axis=1)
            for index in heard(part):
                step = self._step_input(part, newest, index, bool(scored[index]))
                head.follow(self.states[int(part.slot[index])].head, step)

    def _tell_operating(self, closings: Closings) -> None:
        """Which machines begin or cease to run; after a start how each of them is. An event's step says nothing."""
        places = np.flatnonzero(np.isin(closings.kind, (STEP, STOP, NOT_RUNNING)))
        slots, running = closings.slot[places], closings.kind[places] == STEP
        new = np.ones(len(places), np.bool_)
        new[1:] = (slots[1:] != slots[:-1]) | (running[1:] != running[:-1])
        for place, runs in zip(places[new].tolist(), running[new].tolist(), strict=True):
            state, step = self.states[int(closings.slot[place])], int(closings.step[place])
            if state.running is not runs:
                state.running = runs
                change = self._messages.operating(state.asset, step, running=runs)
                self._decisions.operating.append((int(closings.record[place]), change))

    def flush(self) -> None:
        """Score and decide all that waits."""
        if not self._pending:
            return
        closings = concatenate([part for part, _ in self._pending])
        windows = WindowRows.joined([part for _, part in self._pending])
        newest = windows.newest
        self._pending, self._pending_bytes = [], 0
        wanted = scorable(self._spec.window, closings)
        degraded = np.isnan(newest).sum(axis=1)
        masked = wanted & (degraded == newest.shape[1])
        scored = wanted & ~masked
        self._decisions.closed.masked += int(masked.sum())
        scales = self._read_scales(closings.slot, windows, scored)
        every = bool(scored.all())
        ends, chosen = (closings, windows) if every else (select(closings, scored), windows.select(scored))
        self._decisions.closed.scored += len(ends)
        scorer = self._spec.scorer
        result = scorer.score(chosen) if scales is None else scorer.score(chosen, scales.scaler)
        found = ScoredSteps(
            slot=ends.slot,
            step=ends.step,
            score=result.score,
            probability=np.full(len(result.score), np.nan),
            above=result.score > self._thresholds(ends.slot),
            attribution=result.attribution,
            expected=result.expected,
            newest=newest if every else newest[scored],
            degraded=degraded[scored],
            provisional=np.zeros(len(chosen), np.bool_) if scales is None else scales.provisional,
        )
        place = np.cumsum(scored) - 1
        if self._spec.head is not None:
            found = self._advance_heads(self._spec.head, closings, newest, scored, place, found)
        if self._spec.suppression is not None:
            muted = self._spec.suppression.suppressed(found.attribution, found.newest, found.expected)
            self._decisions.closed.suppressed += int((found.above & muted).sum())
            found = replace(found, above=found.above & ~muted)
        self._note(found)
        self.latest.note(found)
        if self._keep_results:
            assets = [self.states[slot].asset for slot in found.slot.tolist()]
            self._decisions.results.append((ends.record, replace(found, assets=assets)))
        counts = wanted | (closings.kind != STEP)
        if not counts.all():
            closings, scored, place = select(closings, counts), scored[counts], place[counts]
        self._decide(closings, scored, place, found)

    def _read_scales(self, slots: Ints, windows: WindowRows, scored: Bools) -> WindowScales | None:
        """The scales of the windows to score; those of machines that have none yet are taken out of `scored` (N,)."""
        if self.scales is None:
            return None
        own = slots[scored]
        learning = self.scales.is_learning(own)
        self._decisions.changed.update(own[learning].tolist())
        found = self.scales.read(own, windows.select(scored).values)
        self._decisions.closed.warming_up += int((~found.ready).sum())
        scored[scored] = found.ready
        return found

    def _thresholds(self, slots: Ints) -> float | Floats:
        """Of the score: one for all, or (M,) where machines have their own."""
        spec = self._spec
        if not spec.own_thresholds:
            return spec.threshold
        return np.array([spec.threshold_of(self.states[slot].asset) for slot in slots.tolist()])

    def _note(self, found: ScoredSteps) -> None:
        """Count towards drift: the ratios of score to threshold, and the events that the probabilities expect."""
        spec, closed = self._spec, self._decisions.closed
        if 0 < spec.threshold < math.inf:
            closed.ratios.append((found.score if spec.head is None else found.probability) / spec.threshold)
        if spec.head is not None:
            # Each event lies in the lead windows of so many steps.
            steps = spec.lead.until_steps - spec.lead.from_steps + 1
            closed.expected_events += float(np.nansum(found.probability)) / steps

    def _advance_heads(
        self, head: Head, closings: Closings, newest: Floats, scored: Bools, place: Ints, found: ScoredSteps
    ) -> ScoredSteps:
        """Every closing in order through its asset's head, which gives scored steps probability and attribution."""
        attribution = found.attribution.copy()
        for index in heard(closings):
            slot, at = int(closings.slot[index]), int(place[index])
            step = self._step_input(closings, newest, index, bool(scored[index]))
            answer = head.advance(self.states[slot].head, step)
            self._decisions.changed.add(slot)
            if scored[index]:
                attribution[at] = answer.attribution
                found.probability[at] = np.nan if answer.probability is None else answer.probability
        above = found.probability > self._spec.threshold
        return replace(found, above=above, attribution=attribution)

    def _step_input(self, closings: Closings, newest: Floats, index: int, scorable: bool) -> StepInput:
        """A closing as heads see it. newest: (N, F) the newest step of each closing's window."""
        step, is_step = int(closings.step[index]), bool(closings.kind[index] == STEP)
        return StepInput(
            step=step,
            time=self._grid.steps.start_of(step),
            values=newest[index] if is_step else np.full(newest.shape[1], np.nan),
            run_position=min(step - int(closings.run_start[index]), self._grid.history) if is_step else 0,
            event=not is_step,
            scorable=scorable,
        )

    def _decide(self, closings: Closings, scored: Bools, place: Ints, found: ScoredSteps) -> None:
        """Rows of assets with an alarm that is up, rests or is about to be; nothing can change for the others."""
        busy = self.latest.busy.copy()
        busy[found.slot[found.above]] = True
        concerned = busy[closings.slot]
        if self.publish_scores:
            concerned |= scored
        for index in np.flatnonzero(concerned):
            slot, step, record = int(closings.slot[index]), int(closings.step[index]), int(closings.record[index])
            state, kind = self.states[slot], closings.kind[index]
            if kind != STEP:
                ended = int(closings.run_start[index]) if kind == LATE_EVENT else step
                self._clear(slot, ended, record)
                self._end_rest(slot)
                continue
            above = bool(found.above[place[index]]) if scored[index] else False
            raised = None if state.alarm is None else state.alarm_step
            if not rests(state.ended_step, step, self._spec.episode):
                self._end_rest(slot)
            move = next_move(raised, step, above, self._spec.episode, state.ended_step)
            before = state.alarm if move is Move.RENEW else None
            if move in (Move.CLEAR, Move.RENEW):
                self._clear(slot, step, record)
            if move in (Move.RAISE, Move.RENEW):
                self._raise(slot, step, record, found, int(place[index]), before)
            if self.publish_scores and scored[index]:
                score = self._messages.score(state.asset, step, found, int(place[index]))
                self._decisions.scores.append((record, score))

    def _raise(
        self, slot: int, step: int, record: int, found: ScoredSteps, place: int, renewed_from: Alarm | None
    ) -> None:
        state = self.states[slot]
        state.alarm = self._messages.raised(state.asset, state.id_term, step, found, place, renewed_from)
        state.alarm_step = step
        state.ended_step = None
        self.latest.busy[slot] = True
        self._decisions.changed.add(slot)
        self._decisions.alarms.append((record, state.alarm))

    def _clear(self, slot: int, step: int, record: int) -> None:
        cleared = self._cleared(slot, step)
        if cleared is not None:
            self._decisions.alarms.append((record, cleared))

    def _cleared(self, slot: int, step: int) -> Alarm | None:
        """The open alarm of the slot, which ends with this step; None where there is none."""
        state = self.states[slot]
        if state.alarm is None:
            return None
        ended = max(step, state.alarm_step + 1)
        cleared = self._messages.cleared(state.alarm, ended)
        self._decisions.changed.add(slot)
        state.alarm = None
        # Perhaps its rest, too, was over before a step came to end it.
        episode = self._spec.episode
        over = over_at(state.alarm_step, ended, episode)
        state.ended_step = over if rests(over, ended, episode) else None
        self.latest.busy[slot] = state.ended_step is not None
        return cleared

    def _end_rest(self, slot: int) -> None:
        """It was long enough, or the run is over and the plant begins anew."""
        state = self.states[slot]
        if state.ended_step is not None:
            state.ended_step = None
            self.latest.busy[slot] = False
            self._decisions.changed.add(slot)


def heard(closings: Closings) -> list[int]:
    """The places of the closings that heads read: steps and events."""
    places: list[int] = np.flatnonzero((closings.kind != END) & (closings.kind != STOP)).tolist()
    return places
