"""What a backtest found, in sentences for people."""

from typing import Any

from stream_detector.detection.block_bootstrap import LEAST_DAYS, LEAST_EVENTS, why_no_interval
from trainer.backtesting.alarm_value import AlarmValue


def difference_in_words(pair: dict[str, Any]) -> str:
    """What `paired_difference` found, and whether that shows a difference; points are percent of never alarming."""
    saving, low, high = pair["saving_difference"], pair["low"], pair["high"]
    if saving is None:
        return f"{pair['recipe']} against {pair['against']}: without an event nothing can be said."
    if low is None or high is None:
        needed = f"{LEAST_EVENTS} events and {LEAST_DAYS} days, and something caught"
        return (
            f"{pair['recipe']} saves {saving * 100:+.1f} points against {pair['against']}; an interval takes {needed}."
        )
    how = "more" if saving >= 0 else "less"
    verdict = " The interval contains 0: no difference is shown." if low <= 0 <= high else ""
    points = f"{abs(saving) * 100:.1f} points {how} than {pair['against']}"
    return f"{pair['recipe']} saves {points}, paired 90 % interval {low * 100:+.1f} to {high * 100:+.1f}.{verdict}"


def in_words(worth: AlarmValue) -> list[str]:
    """An honest reading, one sentence a line."""
    saving, low, high = worth.saving, worth.interval.low, worth.interval.high
    caught, events = int(worth.priced.match.caught.sum()), len(worth.event_steps)
    unseen = f"{worth.unscorable} of them had no scored row before them"
    wrong = f"{worth.false_alarms_per_day:.1f} false alarms a day"
    lines = [
        f"{events} events on {len(worth.days)} days, {caught} caught, {events - caught} missed ({unseen}).",
        f"{len(worth.alarms)} alarms, {worth.useful_alarms} of them before an event; {wrong}.",
    ]
    if worth.not_running:
        lines.append(
            f"In {worth.not_running:,} rows the machine did not run ([operating]): they are neither scored nor priced, "
            f"and {worth.events_not_running} events before which it did not run do not count."
        )
    episode = worth.recipe.episode
    if episode.max_steps != episode.hold_steps:
        lines.append(
            f"An alarm is up for {episode.hold_steps} to {episode.max_steps} steps, as long as the level stays above "
            "the threshold, and is paid for once."
        )
    if saving is None:
        return [*lines, "Without an event nothing can be said about a saving."]
    why = why_no_interval(events, caught)
    interval = f" ({why})" if low is None or high is None else f", 90 % interval over days {low:.1%} to {high:.1%}"
    sums = (
        f"cost {worth.priced.cost:,.0f} against {worth.priced.never_cost:,.0f} without alarms "
        f"and {worth.always_cost:,.0f} with one all the time"
    )
    if worth.silent_days:
        lines.append(f"No threshold was shown to pay on {worth.silent_days} of the days, where nothing is raised.")
    if not len(worth.alarms):
        return [*lines, f"It never alarms, so it saves nothing: {sums}."]
    lines.append(f"Saving {saving:.1%}{interval}: {sums}.")
    lines.append(warnings_in_words(worth))
    halves = [f"{part:.1%}" for part in worth.saving_by_half if part is not None]
    if len(halves) == 2:
        lines.append(f"First half of the days {halves[0]}, second half {halves[1]}.")
    if low is None or high is None:
        lines.append("Without an interval no saving is shown.")
    elif low <= 0 <= high:
        lines.append("The interval contains 0: no saving is shown.")
    elif high < 0:
        lines.append("The interval lies below 0: these alarms cost more than they save.")
    return lines


def warnings_in_words(worth: AlarmValue) -> str:
    """What is left where a shorter warning is of no use."""
    parts = []
    for found in worth.by_least_warning():
        rows = "1 row" if found["steps"] == 1 else f"{found['steps']} rows"
        minutes = "{:g} to {:g} min".format(*found["minutes"])
        parts.append(f"{rows} ({minutes}) {found['saving']:.1%}, {found['caught']} caught")
    return f"By least warning: {'; '.join(parts)}."
