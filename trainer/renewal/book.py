"""The book of a candidate on trial: what its alarms were worth beside the champion's, as both were raised."""

import asyncio
import logging
import math
from collections.abc import Callable

from stream_detector.operations.downtime.calendar_file import read_calendar
from stream_detector.operations.ledger.challenger import SECONDS_PER_DAY, Challengers, Comparison
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed, read_ledger
from stream_detector.streaming.feeds.worked_off import behind
from trainer.renewal.judging import Verdict

log = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""For so long workers that are about to commit are waited for."""


def read_book(
    settings: Settings,
    candidate: str,
    since: float,
    until: float,
    asset: str | None = None,
    decides: Callable[[str], bool] | None = None,
) -> Verdict | None:
    """The paired book of champion and candidate; None where the candidate raised no alarm, or alarms may be missing.

    Args:
        settings: the champion's.
        candidate: id of its bundle.
        since: event time, epoch seconds; what came before the candidate had learnt from, perhaps.
        until: event time up to which readings are there.
        asset: this one only.
        decides: assets that count; None = all that both decide about.

    Raises:
        BrokerError: the brokers cannot be reached.
    """
    groups = [settings.group, as_challenger(settings).group]
    late = asyncio.run(behind(settings, groups, WAIT_SECONDS))
    if late:
        said = ", ".join(f"{group} has {left:,} readings before it" for group, left in late.items())
        log.warning("the book of %s cannot be read yet: %s", candidate, said)
        return None
    planner = None if settings.calendar_file is None else read_calendar(settings.calendar_file)
    feed = LedgerFeed(Ledger(planner=planner), settings)
    asyncio.run(read_ledger(feed))
    return verdict_of(feed.challengers, candidate, since, until, asset, decides)


def as_challenger(settings: Settings) -> Settings:
    """The settings of the group whose alarms nobody is told of."""
    return settings.model_copy(update={"role": "challenger"}).in_role()


def verdict_of(
    books: Challengers,
    candidate: str,
    since: float,
    until: float,
    asset: str | None = None,
    decides: Callable[[str], bool] | None = None,
) -> Verdict | None:
    """What the books say of whole days (UTC) in which both decided; None where the candidate raised no alarm."""
    if (begun := books.both_decide_since(candidate)) is None:
        return None
    begin = max(begun, math.ceil(since / SECONDS_PER_DAY) * SECONDS_PER_DAY)
    end = until // SECONDS_PER_DAY * SECONDS_PER_DAY
    found = None if begin >= end else books.compare(begin, end, asset, candidate, decides)
    return None if found is None else _verdict(found, begin, end)


def _verdict(found: Comparison, begin: float, end: float) -> Verdict:
    difference = found.difference
    return Verdict(
        begin=begin,
        end=end,
        days=round((end - begin) / SECONDS_PER_DAY),
        events=found.champion.events,
        candidate=found.challenger.saving,
        champion=found.champion.saving,
        difference=difference.saving,
        low=difference.low,
        high=difference.high,
    )
