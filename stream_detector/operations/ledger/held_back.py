"""What alarms that people act on prevent, priced by those that were held back from them.

Whoever acts on an alarm takes away the event by which it would be judged: the better the detector, the more of its
alarms look false. Alarms that the lot held back are followed by what would have followed the others too, so their share
of events, times the number of the others, less the events that came all the same, is what acting prevented (Neyman
1923; Rubin 1974, "Estimating causal effects"). Nobody knows which ones were prevented.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from stream_detector.operations.ledger.ledger import AlarmEntry, EventEntry

LEVEL = 0.90
DRAWS = 4_000


class Prevented(Struct, frozen=True):
    """What the alarms that people were told of prevented, with its 90 % interval.

    Attributes:
        held_back, foreseen: alarms that nobody was told of, and the events that they spoke of first.
        told, followed: alarms that people were told of, and the events that followed them all the same.
        acted: those of them that somebody said to have acted on.
        events, events_low, events_high: prevented.
        saved, saved_low, saved_high: their cost, less what acting cost, in the plant's currency units.
        saving, saving_low, saving_high: the same as parts of what all events would have cost without any alarm.
    """

    held_back: int
    foreseen: int
    told: int
    followed: int
    acted: int
    events: float
    events_low: float
    events_high: float
    saved: float
    saved_low: float
    saved_high: float
    saving: float | None
    saving_low: float | None
    saving_high: float | None


def prevented(events: Sequence[EventEntry], alarms: Sequence[AlarmEntry]) -> Prevented | None:
    """None where no alarm that is over was held back, so that nothing can be said.

    Where people say which alarms they act on, only those are paid for; else all that they were told of.
    """
    over = [alarm for alarm in alarms if not alarm.open]
    held = {alarm.id for alarm in over if alarm.held_back}
    told = {alarm.id: alarm for alarm in over if not alarm.held_back}
    if not held:
        return None
    foreseen = min(sum(event.foreseen_by in held for event in events), len(held))
    followed = sum(event.foreseen_by in told for event in events)
    acted = [alarm for alarm in told.values() if alarm.acted]
    paid = float(sum(alarm.cost for alarm in (acted or told.values())))
    at_stake = float(np.mean([alarm.at_stake for alarm in over]))
    low, high = _events_to_expect(foreseen, len(held), len(told))
    found = [len(told) * foreseen / len(held) - followed, low - followed, high - followed]
    saved = [at_stake * number - paid for number in found]
    never = [sum(event.never_cost for event in events) + at_stake * number for number in found]
    saving = [each / whole if whole > 0 else None for each, whole in zip(saved, never, strict=True)]
    return Prevented(len(held), foreseen, len(told), followed, len(acted), *found, *saved, *saving)


def _events_to_expect(foreseen: int, held_back: int, told: int) -> tuple[float, float]:
    """Ends of the interval of the events that would have followed the alarms that people were told of.

    The share is drawn from the distributions at the ends of Clopper and Pearson 1934, and with it a number of events:
    few alarms vary much, and an interval must not be narrower than its name says.
    """
    generator = np.random.default_rng(0)
    lowest = generator.beta(foreseen, held_back - foreseen + 1, DRAWS) if foreseen else np.zeros(DRAWS)
    highest = generator.beta(foreseen + 1, held_back - foreseen, DRAWS) if foreseen < held_back else np.ones(DRAWS)
    ends = ((lowest, (1 - LEVEL) / 2), (highest, (1 + LEVEL) / 2))
    low, high = (float(np.quantile(generator.binomial(told, share), quantile)) for share, quantile in ends)
    return low, high
