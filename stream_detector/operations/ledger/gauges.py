"""Keeps the ledger's gauges true while alarms and events come in; the work grows with the assets that changed."""

import math

from stream_detector.metrics import LedgerMetrics
from stream_detector.operations.ledger.ledger import EventEntry, Ledger
from stream_detector.operations.ledger.report import tally


class LedgerGauges:
    """Writes a ledger into its metrics.

    Args:
        ledger: read only.
        metrics: where to.
        max_assets: assets beyond this many (in the order in which they appear) have no gauges of their own, so that a
            bus of a million assets does not drown Prometheus.
    """

    def __init__(self, ledger: Ledger, metrics: LedgerMetrics, max_assets: int = 500) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._max_assets = max_assets
        self._shown: set[str] = set()
        self._observed: set[tuple[str, float]] = set()

    def update(self, assets: set[str]) -> None:
        """Brings the gauges of these assets up to date."""
        known = set(self._ledger.assets)
        for asset in sorted(assets & known):
            if asset not in self._shown and len(self._shown) >= self._max_assets:
                continue
            self._shown.add(asset)
            self._show(asset)

    def _show(self, asset: str) -> None:
        account = self._ledger.account(asset)
        total = tally(account.events, account.alarms)
        metrics = self._metrics
        metrics.events_caught.labels(asset).set(total.caught)
        metrics.events_missed.labels(asset).set(total.missed)
        metrics.alarms_false.labels(asset).set(total.false_alarms)
        metrics.cost.labels(asset).set(total.cost)
        metrics.never_cost.labels(asset).set(total.never_cost)
        metrics.saved.labels(asset).set(total.saved)
        # The interval is that of the relative saving; where there is none, NaN says that nothing is known.
        for gauge, part in ((metrics.saved_lower, total.saving_low), (metrics.saved_upper, total.saving_high)):
            gauge.labels(asset).set(math.nan if part is None else part * total.never_cost)
        for histogram in (metrics.lead, metrics.delay):
            histogram.labels(asset)
        for event in account.events:
            self._observe_lead(event)

    def _observe_lead(self, event: EventEntry) -> None:
        # A histogram only grows: an event counts when first seen caught, and a later correction does not take it back.
        identity = (event.asset, event.time)
        if event.lead_seconds is None or identity in self._observed:
            return
        self._observed.add(identity)
        if event.until is None:
            self._metrics.lead.labels(event.asset).observe(event.lead_seconds)
        else:
            self._metrics.delay.labels(event.asset).observe(max(0.0, -event.lead_seconds))
