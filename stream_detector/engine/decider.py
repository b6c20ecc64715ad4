"""Closed steps to alarms: windows, scores, the head, episodes. The stream and `score_frame` decide with this alone."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.episodes import Move, next_move, rests
from stream_detector.detection.grid.closed_steps import END, EVENT, LATE_EVENT, STEP, Closings, concatenate, select
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.windows import gather, scorable
from stream_detector.detection.head.head import Head, HeadState, StepInput
from stream_detector.engine.alarm_messages import StepResults, Wording
from stream_detector.engine.detector_spec import Rules
from stream_detector.engine.outcome import Closed
from stream_detector.engine.snapshots import Snapshot
from stream_detector.messages import Alarm, Score

PENDING_BYTES = 32 * 2**20
"""Windows are scored when so many wait, or when the batch ends."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Decisions:
    """What was decided since the last `take`; alarms and scores with the index of the record that closed their step.

    `changed`: slots whose episode or head is no longer that of the last snapshot.
    """

    alarms: list[tuple[int, Alarm]] = field(default_factory=list)
    scores: list[tuple[int, Score]] = field(default_factory=list)
    closed: Closed = field(default_factory=Closed)
    changed: set[int] = field(default_factory=set)
    results: list[StepResults] = field(default_factory=list)


@dataclass(slots=True)
class Standing:
    """One asset's decision state: its open alarm, the step that raised it, the one that its rest began in, its head."""

    asset: str
    alarm: Alarm | None = None
    alarm_step: int = 0
    ended_step: int | None = None
    head: HeadState = None


class Decider:
    """Decides for the slots of one grid. `keep_results`: decisions hold every scored step.

    `step`, `score`, `probability`, `degraded`, `evidence`, `newest`, `expected`: of each slot's newest scored step.
    """

    def __init__(self, rules: Rules, grid: Grid, publish_scores: bool = False, keep_results: bool = False) -> None:
        self.publish_scores = publish_scores
        self.standings: dict[int, Standing] = {}
        self._rules = rules
        self._keep_results = keep_results
        self._grid = grid
        self._wording = Wording(rules, grid.steps)
        self._pending: list[tuple[Closings, Floats]] = []
        self._pending_bytes = 0
        self._decisions = Decisions()
        self._busy = np.zeros(0, np.bool_)
        self.score, self.probability = np.zeros(0), np.zeros(0)
        self.degraded = np.zeros(0, np.int64)
        self.step = np.zeros(0, np.int64)
        self.evidence = np.zeros((0, len(rules.sensors)), np.float32)
        self.newest, self.expected = np.zeros_like(self.evidence), np.zeros_like(self.evidence)

    def admit(self, slot: int, asset: str, known: Snapshot | None) -> None:
        """An asset begins, with what its snapshot knows."""
        standing, head = Standing(asset), self._rules.head
        if known is not None:
            standing.ended_step = known.ended_step
        if known is not None and known.alarm is not None:
            standing.alarm, standing.alarm_step = Alarm.model_validate_json(known.alarm), known.alarm_step
        if head is not None:
            standing.head = head.fresh() if known is None or known.head is None else head.load(known.head)
        self.standings[slot] = standing
        while slot >= len(self._busy):
            for name in ("_busy", "step", "score", "probability", "degraded", "evidence", "newest", "expected"):
                array = getattr(self, name)
                larger = np.zeros((max(16, 2 * len(array)), *array.shape[1:]), array.dtype)
                larger[: len(array)] = array
                setattr(self, name, larger)
        self._busy[slot] = standing.alarm is not None or standing.ended_step is not None
        self.score[slot] = self.probability[slot] = np.nan
        self.degraded[slot] = 0
        self.evidence[slot] = 0
        self.newest[slot] = self.expected[slot] = np.nan

    def release(self, slot: int, record: int) -> None:
        """The asset is evicted; an open alarm is cleared."""
        self.flush()
        self._clear(slot, int(self._grid.next_step[slot]), record)
        del self.standings[slot]
        self._decisions.changed.discard(slot)

    def dump_head(self, standing: Standing) -> bytes | None:
        return None if self._rules.head is None else self._rules.head.dump(standing.head)

    def take(self) -> Decisions:
        """All decisions since the last call."""
        self.flush()
        decisions, self._decisions = self._decisions, Decisions()
        return decisions

    def add(self, closings: Closings) -> None:
        """Takes what has just closed; the windows are read from the grid now, before it goes on."""
        rules, closed = self._rules, self._decisions.closed
        wanted = scorable(rules.window, closings)
        is_step = closings.kind == STEP
        warming_up = int((is_step & (closings.step - closings.run_start + 1 < rules.window.shortest)).sum())
        closed.warming_up += warming_up
        closed.off_stride += int(is_step.sum()) - warming_up - int(wanted.sum())
        closed.event += int((closings.kind == EVENT).sum())
        if rules.head is None:
            closings = select(closings, wanted | ~is_step)
        if not len(closings):
            return
        windows = gather(self._grid, rules.window, closings)
        self._pending.append((closings, windows))
        self._pending_bytes += windows.nbytes
        if self._pending_bytes > PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Score and decide all that waits."""
        if not self._pending:
            return
        closings = concatenate([part for part, _ in self._pending])
        windows = (
            self._pending[0][1] if len(self._pending) == 1 else np.concatenate([part for _, part in self._pending])
        )
        self._pending, self._pending_bytes = [], 0
        wanted = scorable(self._rules.window, closings)
        degraded = np.isnan(windows[:, -1]).sum(axis=1)
        masked = wanted & (degraded == windows.shape[2])
        scored = wanted & ~masked
        self._decisions.closed.masked += int(masked.sum())
        self._decisions.closed.scored += int(scored.sum())
        result = self._rules.scorer.score(windows if scored.all() else windows[scored])
        found = StepResults(
            slot=closings.slot[scored],
            step=closings.step[scored],
            record=closings.record[scored],
            score=result.score,
            probability=np.full(len(result.score), np.nan),
            above=result.score > self._rules.threshold,
            evidence=result.errors,
            expected=result.expected,
            newest=windows[scored, -1],
            degraded=degraded[scored],
        )
        place = np.cumsum(scored) - 1
        if self._rules.head is not None:
            found = self._advance_heads(self._rules.head, closings, windows[:, -1], scored, place, found)
        self._note(found)
        self.score[found.slot], self.probability[found.slot] = found.score, found.probability
        self.degraded[found.slot], self.evidence[found.slot] = found.degraded, found.evidence
        self.step[found.slot], self.newest[found.slot], self.expected[found.slot] = (
            found.step,
            found.newest,
            found.expected,
        )
        if self._keep_results:
            self._decisions.results.append(found)
        counts = wanted | (closings.kind != STEP)
        self._decide(select(closings, counts), scored[counts], place[counts], found)

    def _note(self, found: StepResults) -> None:
        """What says whether the bundle still fits: how close to the threshold, and how many events are expected."""
        rules, closed = self._rules, self._decisions.closed
        if rules.threshold > 0:
            closed.ratios.append((found.score if rules.head is None else found.probability) / rules.threshold)
        if rules.head is not None:
            # Each event lies in the lead windows of so many steps.
            steps = rules.lead.until_steps - rules.lead.from_steps + 1
            closed.expected_events += float(np.nansum(found.probability)) / steps

    def _advance_heads(
        self, head: Head, closings: Closings, newest: Floats, scored: Bools, place: Ints, found: StepResults
    ) -> StepResults:
        """Every closing in order through its asset's head, which gives a scored step its probability and evidence."""
        errors = found.evidence.astype(np.float32)
        evidence, expected = found.evidence.copy(), found.expected.copy()
        for index in np.flatnonzero(closings.kind != END):
            slot, step, at = int(closings.slot[index]), int(closings.step[index]), int(place[index])
            is_step = closings.kind[index] == STEP
            answer = head.advance(
                self.standings[slot].head,
                StepInput(
                    step=step,
                    time=self._grid.steps.start_of(step),
                    values=newest[index] if is_step else np.full(newest.shape[1], np.nan),
                    errors=errors[at] if scored[index] else None,
                    run_position=min(step - int(closings.run_start[index]), self._grid.history) if is_step else 0,
                    event=not is_step,
                    scorable=bool(scored[index]),
                ),
            )
            self._decisions.changed.add(slot)
            if scored[index]:
                evidence[at] = answer.contributions
                found.probability[at] = np.nan if answer.probability is None else answer.probability
                if answer.expected is not None:
                    expected[at] = answer.expected
        return StepResults(
            found.slot, found.step, found.record, found.score, found.probability,
            found.probability > self._rules.threshold, evidence, expected, found.newest, found.degraded,
        )  # fmt: skip

    def _decide(self, closings: Closings, scored: Bools, place: Ints, found: StepResults) -> None:
        """Rows of assets with an alarm that is up, rests or is about to be; nothing can change for the others."""
        busy = self._busy.copy()
        busy[found.slot[found.above]] = True
        concerned = busy[closings.slot]
        if self.publish_scores:
            concerned |= scored
        for index in np.flatnonzero(concerned):
            slot, step, record = int(closings.slot[index]), int(closings.step[index]), int(closings.record[index])
            standing, kind = self.standings[slot], closings.kind[index]
            if kind != STEP:
                self._clear(slot, int(closings.run_start[index]) if kind == LATE_EVENT else step, record)
                self._end_rest(slot)
                continue
            above = bool(found.above[place[index]]) if scored[index] else False
            raised = None if standing.alarm is None else standing.alarm_step
            if not rests(standing.ended_step, step, self._rules.episode):
                self._end_rest(slot)
            move = next_move(raised, step, above, self._rules.episode, standing.ended_step)
            if move in (Move.CLEAR, Move.RENEW):
                self._clear(slot, step, record)
            if move in (Move.RAISE, Move.RENEW):
                self._raise(slot, step, record, found, int(place[index]))
            if self.publish_scores and scored[index]:
                score = self._wording.score(standing.asset, step, found, int(place[index]))
                self._decisions.scores.append((record, score))

    def _raise(self, slot: int, step: int, record: int, found: StepResults, place: int) -> None:
        standing = self.standings[slot]
        standing.alarm, standing.alarm_step = self._wording.raised(standing.asset, step, found, place), step
        standing.ended_step = None
        self._busy[slot] = True
        self._decisions.changed.add(slot)
        self._decisions.alarms.append((record, standing.alarm))

    def _clear(self, slot: int, step: int, record: int) -> None:
        standing = self.standings[slot]
        if standing.alarm is None:
            return
        ended = max(step, standing.alarm_step + 1)
        self._decisions.alarms.append((record, self._wording.cleared(standing.alarm, ended)))
        self._decisions.changed.add(slot)
        standing.alarm = None
        # Empty steps, and those that are not scored, may have kept it up for longer than it had to be: perhaps until
        # its rest, too, was over.
        episode = self._rules.episode
        over = min(ended, standing.alarm_step + episode.max_steps)
        standing.ended_step = over if rests(over, ended, episode) else None
        self._busy[slot] = standing.ended_step is not None

    def _end_rest(self, slot: int) -> None:
        """It was long enough, or the run is over and the plant begins anew."""
        standing = self.standings[slot]
        if standing.ended_step is not None:
            standing.ended_step = None
            self._busy[slot] = False
            self._decisions.changed.add(slot)
