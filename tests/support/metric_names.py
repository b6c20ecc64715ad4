"""What the code exposes, read from the collectors themselves: name -> (type, labels, help)."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from stream_detector.metrics import (
    BridgeMetrics,
    ForwarderMetrics,
    GaugesOnDemand,
    LedgerMetrics,
    RenewalMetrics,
    WorkerMetrics,
)
from stream_detector.process_metrics import new_registry
from stream_detector.streaming.worker.health.reload import Reloader


class Exposed(NamedTuple):
    kind: str
    labels: frozenset[str]
    text: str


def exposed_metrics() -> dict[str, Exposed]:
    """Every metric of the product by the name that a query uses (a counter's ends in `_total`)."""
    product = CollectorRegistry()
    WorkerMetrics(product)
    LedgerMetrics(product)
    ForwarderMetrics(product)
    RenewalMetrics(product)
    BridgeMetrics(product)
    found: dict[str, Exposed] = {}
    process = new_registry()
    Reloader(process)
    for registry in (product, process):
        # The registry has no public way to list label names of metrics that have no series yet.
        for collector in list(registry._collector_to_names):
            for family in collector.collect():
                labels = frozenset(
                    family._labelnames
                    if isinstance(family, GaugeMetricFamily) and isinstance(collector, GaugesOnDemand)
                    else getattr(collector, "_labelnames", ())
                )
                name = f"{family.name}_total" if family.type == "counter" else family.name
                found[name] = Exposed(family.type, labels, family.documentation)
    return found


def series_names() -> set[str]:
    """Every series name that a query may use: histograms become `_bucket`, `_sum` and `_count`."""
    names: set[str] = set()
    for name, exposed in exposed_metrics().items():
        names |= {f"{name}{end}" for end in ("_bucket", "_sum", "_count")} if exposed.kind == "histogram" else {name}
    return names
