"""What every process of the product exposes, whatever it does: its version, its site, its certificates, itself."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stream_detector.version import version

SITE_LABEL = "site"


def new_registry(site: str = "", certificates: Mapping[str, Path] | None = None) -> CollectorRegistry:
    """A registry with the figures of the process (version, memory, CPU, open files, garbage collector).

    Args:
        site: a label of every series, so that many plants share one Prometheus; empty = no such label.
        certificates: setting's name -> file (PEM), whose expiry is told.
    """
    registry = SiteRegistry(site) if site else CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Gauge("stream_detector_build_info", "The program's version, value 1", ["version"], registry=registry).labels(
        version()
    ).set(1)
    CertificateExpiry(certificates or {}, registry)
    return registry


class SiteRegistry(CollectorRegistry):
    """Puts the label `site` on every series."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self._site = site

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            family.samples = [
                sample._replace(labels={**sample.labels, SITE_LABEL: self._site}) for sample in family.samples
            ]
            yield family


class CertificateExpiry(Collector):
    """When certificates expire. Files are read again when they change; one that cannot be read has no series."""

    _labelnames = ("setting",)

    def __init__(self, files: Mapping[str, Path], registry: CollectorRegistry) -> None:
        self._files = dict(files)
        self._known: dict[Path, tuple[int, float]] = {}
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "stream_detector_certificate_expiry_timestamp_seconds",
            "When the first certificate of the file that this setting names expires",
            labels=self._labelnames,
        )
        for setting, file in self._files.items():
            expiry = self._expiry(file)
            if expiry is not None:
                family.add_metric([setting], expiry)
        yield family

    def _expiry(self, file: Path) -> float | None:
        try:
            changed = file.stat().st_mtime_ns
            if self._known.get(file, (0, 0.0))[0] != changed:
                self._known[file] = (changed, first_expiry(file.read_bytes()))
        except (OSError, ValueError):
            return None
        return self._known[file][1]


def first_expiry(pem: bytes) -> float:
    """Epoch seconds at which the first of these certificates expires.

    Raises:
        ValueError: there is no certificate in it.
    """
    from cryptography import x509

    return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(pem))


class LateGauge(Collector):
    """A gauge that has no series until it is set: a plain one says 0 until then, which may be a false statement."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._value: float | None = None
        registry.register(self)

    def set(self, value: float) -> None:
        self._value = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self._name, self._text, value=self._value)
