"""What all partitions of an engine share: slots for their assets, the grid that holds the cells, and the decider.

So readings of several partitions go into the grid in one call, and the windows that they close are scored in one.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from stream_detector.detection.grid.closed_steps import Closings, Stretches, select
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.intake import Intake, Tally
from stream_detector.engine.assets.asset_offsets import AssetOffsets
from stream_detector.engine.assets.slots import Slots
from stream_detector.engine.batch_in_hand import AtClosing, Taken, TakenTogether
from stream_detector.engine.decider import Decider
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.limits import Limits


class SharedState:
    """Arrays by slot. `keep_steps`: decisions tell every scored step."""

    def __init__(self, spec: DetectorSpec, limits: Limits, keep_steps: bool) -> None:
        self.spec = spec
        self.slots = Slots()
        self.grid = Grid(
            spec.grid, spec.window, len(spec.sensors), limits.slack_steps, limits.slack_cells, spec.operating
        )
        self.offsets = AssetOffsets()
        self.decider = Decider(spec, self.grid, keep_results=keep_steps)
        self._intake = Intake(self.grid)

    def take(self, parts: Sequence[Taken]) -> None:
        """Put readings of different partitions into the grid, and what closes before the decider."""
        told = [part for part in parts if part.at_closing is AtClosing.DECIDE]
        if told:
            self.take_told(TakenTogether.of(told))
        for part in parts:
            if part.at_closing is AtClosing.FOLLOW:
                self._take(TakenTogether.of([part]), self._follow)
            elif part.at_closing is AtClosing.LEAVE:
                self._take(TakenTogether.of([part]), _pass_over)

    def take_told(self, together: TakenTogether) -> None:
        """The same of readings of which all that closes is decided about."""
        self._take(together, self._decide)

    def _take(self, together: TakenTogether, then: Callable[[TakenTogether, Closings | Stretches], None]) -> None:
        tally = self._intake.tally = Tally()
        for readings in together.readings:
            for closings in self._intake.take(readings, together.offsets):
                then(together, closings)
        together.count(tally)

    def _decide(self, together: TakenTogether, closings: Closings | Stretches) -> None:
        """Put before the decider what is not decided yet."""
        due = together.handled_at[closings.record] >= self.offsets.decided_until[closings.slot]
        if not due.all():
            closings = closings.select(due) if isinstance(closings, Stretches) else select(closings, due)
        closings = replace(closings, record=together.record[closings.record])
        if isinstance(closings, Stretches):
            self.decider.add_stretches(closings)
        else:
            self.decider.add(closings)

    def _follow(self, _together: TakenTogether, closings: Closings | Stretches) -> None:
        """Heads take note of these steps."""
        self.decider.follow(closings.apart() if isinstance(closings, Stretches) else closings)


def _pass_over(_together: TakenTogether, _closings: Closings | Stretches) -> None:
    """Snapshots know what was decided on these steps."""
