"""The Prometheus metrics of the product, in one place; docs/metrics.md lists them and a test holds the two together.

Built by a constructor into a registry of its own, never at import. Cardinality is bounded: gauges per asset exist for
the first 1,000 assets of a worker, gauges per sensor only for an asset's top sensors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from stream_detector.process_metrics import LateGauge

PREFIX = "stream_detector"

DELAY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SCORING_BUCKETS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LEAD_BUCKETS = (60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0)
RATIO_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)


class BatchHistogram(Collector):
    """A histogram that takes a whole array at once; one `observe` a score costs more than its place in the grid."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._bounds = np.asarray(buckets, dtype=np.float64)
        self._counts = np.zeros(len(buckets) + 1, dtype=np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: npt.ArrayLike) -> None:
        """Counts `values` (any shape); numbers that are not finite are left out."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        self._counts += np.bincount(np.searchsorted(self._bounds, flat, side="left"), minlength=len(self._counts))
        self._sum += float(flat.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        yield HistogramMetricFamily(
            self._name,
            self._text,
            buckets=[(name, float(count)) for name, count in zip(names, np.cumsum(self._counts), strict=True)],
            sum_value=self._sum,
        )


class GaugesOnDemand(Collector):
    """Gauges that are told when somebody reads them; to set those of a thousand assets would hold batches back.

    Args:
        families: {name: (help text, names of its labels)}.
    """

    def __init__(self, families: Mapping[str, tuple[str, Sequence[str]]], registry: CollectorRegistry) -> None:
        self._families = dict(families)
        self.read: Callable[[], Iterable[tuple[str, Sequence[str], float]]] = tuple
        """The gauges there are now: name, values of its labels, its value. Called in the thread of whoever reads."""
        registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        return [
            GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
            for name, (text, labels) in self._families.items()
        ]

    def collect(self) -> list[GaugeMetricFamily]:
        families = dict(zip(self._families, self.describe(), strict=True))
        for name, labels, value in self.read():
            families[name].add_metric(labels, value)
        return list(families.values())


class WorkerMetrics:
    """Metrics of one worker. `partition` labels are Kafka partition numbers as text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=registry)

        # The accounting: received = windowed + late + duplicate + dead_lettered + ignored, for each partition.
        self.received = counter("readings_received", "Readings received (a row counts each of its values)", "partition")
        self.windowed = counter("readings_windowed", "Readings that entered a window", "partition")
        self.late = counter("readings_late", "Readings later than the allowed lateness", "partition")
        self.duplicate = counter("readings_duplicate", "Readings of a cell that was already reported", "partition")
        self.dead_lettered = counter("readings_dead_lettered", "Readings sent to the dead-letter topic", "partition")
        self.ignored = counter(
            "readings_ignored", "Readings of sensors and assets that the bundle does not know", "partition"
        )
        self.unknown = counter(
            "unknown_readings", "Ignored readings by what is unknown about them: a sensor or an asset", "kind"
        )
        self.missing_cells = counter(
            "cells_missing", "Readings that enter a window without a number, by what stands in its place", "reason"
        )
        self.held = gauge("readings_held", "Readings held aside until a jump in time is confirmed", "partition")
        self.records = counter("records", "Kafka records by kind", "kind")
        self.dead_letters = counter("dead_letters", "Dead letters by reason", "reason")
        self.dead_letters_suppressed = counter(
            "dead_letters_suppressed", "Dead letters counted but not published: over the rate limit"
        )
        self.events = counter("events", "Events of the plant on the readings topic", "asset")
        self.events_late = counter("events_late", "Events told after their step had closed")

        self.steps_scored = counter("steps_scored", "Steps scored")
        self.steps_unscored = counter("steps_unscored", "Steps closed without a score", "reason")
        self.steps_suppressed = counter(
            "steps_suppressed", "Steps above the threshold of which a rule of the bundle says that they raise nothing"
        )
        self.score_ratio = BatchHistogram(
            f"{PREFIX}_score_ratio",
            "Score divided by its threshold (probability by its threshold where calibrated), of every scored step",
            RATIO_BUCKETS,
            registry,
        )
        self.expected_events = counter(
            "expected_events",
            "Sum of P(event within the lead window) over scored steps, divided by the steps of that window: "
            "follows events_total when the head is calibrated",
        )
        self.alarms_raised = counter("alarms_raised", "Alarms raised", "asset")
        self.alarms_cleared = counter("alarms_cleared", "Alarms cleared", "asset")
        self.of_assets = GaugesOnDemand(
            {
                "alarms_open": ("Alarms open now", ["asset"]),
                "score": (
                    "Newest score; absent while nothing is judged: the window fills, or the machine does not run",
                    ["asset"],
                ),
                "threshold": ("Score above which an alarm is raised; +Inf where no threshold pays", ["asset"]),
                "probability": (
                    "Newest calibrated P(event within the lead window); absent as the score is",
                    ["asset"],
                ),
                "reconstruction_error": (
                    "Share (0 to 1) of the newest error, or with a head of the evidence for an event; top sensors only",
                    ["asset", "sensor"],
                ),
                "degraded_sensors": (
                    "Sensors that are silent or missing and masked; 0 while the machine does not run",
                    ["asset"],
                ),
                "warming_up": (
                    "1 while the asset's window is not full, or its machine has no scale yet",
                    ["asset"],
                ),
                "provisional": (
                    "1 while the scale of a machine that training never saw is not fixed yet",
                    ["asset"],
                ),
                "not_running": (
                    "1 while the machine stands or starts up, so that its steps are not judged",
                    ["asset"],
                ),
                "drift_level": (
                    (
                        "Population stability index of the newest 500 scores against those of held-out data, "
                        "0.25 = the limit"
                    ),
                    ["asset"],
                ),
                "watermark_timestamp_seconds": ("Largest event time accepted", ["asset"]),
            },
            registry,
        )
        self.watermark_lag = gauge("watermark_lag_seconds", "Wall clock minus watermark, the most lagging asset")

        self.delay_event = histogram(
            "alarm_delay_event_seconds", "Event time of the closing step's end to acknowledged alarm", DELAY_BUCKETS
        )
        self.delay_broker = histogram(
            "alarm_delay_seconds", "Kafka timestamp of the closing record to acknowledged alarm", DELAY_BUCKETS
        )
        self.scoring = histogram(
            "scoring_seconds", "Time to decode and score what was fetched together", SCORING_BUCKETS
        )

        self.assets = gauge("assets_held", "Assets with live state")
        self.assets_refused = counter(
            "assets_refused", "Readings refused because the worker holds its maximum of assets"
        )
        self.assets_evicted = counter("assets_evicted", "Assets forgotten because they were silent for long")
        self.windows = gauge("windows_held", "Assets with a full window")
        self.kafka_lag = gauge("kafka_lag_records", "Records between the committed offset and the end", "partition")
        self.kafka_lag_seconds = gauge(
            "kafka_lag_seconds",
            "Wall clock minus the Kafka timestamp of the newest record processed, 0 where none waits",
            "partition",
        )
        self.broker_answers = gauge("broker_answers", "1 while the brokers answer this worker")
        self.commit_age = gauge("commit_age_seconds", "Seconds since the last acknowledged commit")
        self.partition_commit_age = gauge(
            "partition_commit_age_seconds",
            "Seconds for which processed records have waited for a commit, 0 where none waits",
            "partition",
        )
        self.fetch_age = gauge(
            "fetch_age_seconds", "Seconds since the broker last answered a fetch, the oldest partition"
        )
        self.partitions = gauge("partitions_assigned", "Partitions assigned to this worker")
        self.rebuilding = gauge("rebuilding", "1 while windows are rebuilt from the log")
        self.rebuild_records = gauge(
            "rebuild_records", "Records that a restart would read again to rebuild windows", "partition"
        )
        self.rebuild_seconds = gauge("rebuild_seconds", "Duration of the last rebuild")
        self.record_seconds = gauge(
            "record_seconds", "Seconds that a record takes in bulk: of the last large batch, 0.0001 until there was one"
        )
        self.console_skipped = counter(
            "console_records_skipped", "Records that the console could not use", "topic", "reason"
        )
        self.ready = gauge("ready", "1 when assigned, caught up with its rebuild and not stalled")

        self.bundle_info = gauge("bundle_info", "The bundle in use, value 1", "bundle", "recipe")
        self.bundle_sensors = gauge(
            "bundle_sensors", "Sensors that the bundle reads of an asset; of a table the fewest"
        )
        self.bundle_step = gauge("bundle_step_seconds", "Length of the bundle's step; of a table the longest")
        self.bundle_trained = LateGauge(
            f"{PREFIX}_bundle_trained_timestamp_seconds",
            "End of the bundle's training data; absent where the data had no time",
            registry,
        )
        self.bundle_loaded = gauge("bundle_loaded_timestamp_seconds", "When the bundle was loaded")
        self.switch_seconds = gauge(
            "bundle_switch_seconds",
            "For how long nothing was decided in a partition when the log last named another bundle",
        )


class LedgerMetrics:
    """Metrics of the ledger: what alarms saved (`operations.ledger`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_ledger_{name}", text, labels, registry=registry)

        self.events_caught = gauge("events_caught", "Events with an alarm up in their lead window", "asset")
        self.events_missed = gauge("events_missed", "Events without one", "asset")
        self.alarms_false = gauge("alarms_false", "Alarms without an event in their lead window", "asset")
        self.cost = gauge("cost", "Realised cost, in the plant's currency units", "asset")
        self.never_cost = gauge("never_alarm_cost", "Cost had there been no alarms", "asset")
        self.saved = gauge("saved", "never_alarm_cost - cost", "asset")
        self.saved_lower = gauge(
            "saved_lower", "Lower end of the 90 % interval of saved; NaN = too few events or days", "asset"
        )
        self.saved_upper = gauge(
            "saved_upper", "Upper end of the 90 % interval of saved; NaN = too few events or days", "asset"
        )
        self.lead = Histogram(
            f"{PREFIX}_ledger_lead_seconds",
            "Lead time of caught events",
            ["asset"],
            buckets=LEAD_BUCKETS,
            registry=registry,
        )
        self.delay = Histogram(
            f"{PREFIX}_ledger_delay_seconds",
            "Time from the beginning of a state to the alarm that found it, 0 where that came first",
            ["asset"],
            buckets=LEAD_BUCKETS,
            registry=registry,
        )


class ForwarderMetrics:
    """Metrics of the forwarder, with the health figures of ISA-18.2 / IEC 62682."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_forwarder_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_forwarder_{name}", text, labels, registry=registry)

        self.accepted = counter("notifications_accepted", "Notifications accepted by a receiver", "receiver")
        self.failed = counter("notification_failures", "Attempts that a receiver refused or did not answer", "receiver")
        self.refused = counter(
            "notifications_refused", "Notifications given up, for the receiver refuses their content", "receiver"
        )
        self.skipped = counter("records_skipped", "Records of its topics that could not be used", "topic", "reason")
        self.pending = gauge("pending_alarms", "Alarms not yet accepted by every receiver")
        self.unanswered = gauge("unanswered_seconds", "Seconds since the brokers last answered; meanwhile it is blind")
        self.oldest_pending = gauge("oldest_pending_seconds", "Age of the oldest alarm not yet accepted")
        self.rate = gauge("alarms_per_10_minutes", "Alarms raised in the last ten minutes that people were told of")
        self.standing = gauge("standing_alarms", "Alarms up for longer than the standing limit")
        self.shelved = gauge("shelved_alarms", "Alarms shelved now")
        self.out_of_service = gauge("out_of_service_assets", "Assets out of service now")
        self.chattering = gauge(
            "chattering_assets", "Assets, not set aside, that raised more often than the chattering limit allows"
        )
        self.unacknowledged = gauge("unacknowledged_alarms", "Alarms that nobody has acknowledged")
        self.asset_alarms = gauge(
            "asset_alarms",
            "Health figures of each asset, those above 0: unacknowledged and standing alarms, 1 for an asset that is "
            "shelved, out-of-service or chattering",
            "asset",
            "state",
        )


class BridgeMetrics:
    """Metrics of the bridge from MQTT."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_bridge_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"{PREFIX}_bridge_{name}", text, registry=registry)

        self.received = counter("messages_received", "Messages that came from the MQTT broker")
        self.carried = counter("messages_carried", "Messages of which Kafka has everything")
        self.dead_letters = counter(
            "dead_letters", "Dead letters, those too that the limit of their rate held back", "reason"
        )
        self.connected = gauge("connected", "1 while the MQTT broker has this bridge")
        self.waiting = gauge("waiting", "1 while Kafka takes nothing: it refuses a topic, or acknowledges nothing")
        self.nodes = gauge("sparkplug_nodes", "Edge nodes of which something is known, and not that they died")
        self.rebirths = counter("sparkplug_rebirths", "Rebirths asked for: a message is missing, or the birth")
        self.stale = counter("sparkplug_stale_sensors", "Sensors that the death of a node or device made stale")


class RenewalMetrics:
    """Metrics of `trainer renew`, where it runs without `--once`. `of`: what it renews (`RenewalDecision.of`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_renewal_{name}", text, ("of", *labels), registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_renewal_{name}", text, ("of", *labels), registry=registry)

        self.rounds = counter("rounds", "Rounds that came to a decision, by what it was", "outcome")
        self.failed_looks = counter("failed_looks", "Looks that brokers, registry or data did not allow")
        self.looked = gauge("look_timestamp_seconds", "When it last looked, with or without a round")
        self.last_outcome = gauge("last_outcome", "1 for what the last round came to, 0 for the others", "outcome")
        self.proposal_waits = gauge("proposal_waits", "1 while a proposal waits for somebody to accept or decline it")
        self.round = gauge("round_timestamp_seconds", "Event time up to which the last round looked at data")
        self.difference = gauge("saving_difference", "Candidate's saving less the champion's in the last round")
        self.difference_lower = gauge("saving_difference_lower", "Lower end of its paired 90 % interval")
        self.difference_upper = gauge("saving_difference_upper", "Upper end of its paired 90 % interval")
