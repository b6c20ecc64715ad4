"""What every process says of itself: site, version, certificates."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from stream_detector.process_metrics import LateGauge, new_registry
from stream_detector.version import version
from tests.support.stack.certificates import Authority

EXPIRY = "stream_detector_certificate_expiry_timestamp_seconds"


def test_every_series_names_the_site() -> None:
    registry = new_registry("ulsan")
    Gauge("score", "Score", ["asset"], registry=registry).labels("pm-1").set(2)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert lines
    assert all('site="ulsan"' in line for line in lines)
    assert 'score{asset="pm-1",site="ulsan"} 2.0' in lines


def test_without_a_site_there_is_no_such_label() -> None:
    assert "site=" not in generate_latest(new_registry()).decode()


def test_the_version_is_told() -> None:
    assert new_registry().get_sample_value("stream_detector_build_info", {"version": version()}) == 1


def test_the_expiry_of_a_certificate_is_told_and_follows_its_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    registry = new_registry(certificates={"ssl_ca_file": authority.file, "ssl_cert_file": tmp_path / "missing.pem"})
    assert registry.get_sample_value(EXPIRY, {"setting": "ssl_ca_file"}) == (
        authority.certificate.not_valid_after_utc.timestamp()
    )
    assert registry.get_sample_value(EXPIRY, {"setting": "ssl_cert_file"}) is None
    authority.file.write_text("nothing")
    os.utime(authority.file, ns=(1, 1))
    assert registry.get_sample_value(EXPIRY, {"setting": "ssl_ca_file"}) is None


def test_a_gauge_that_was_never_set_says_nothing() -> None:
    registry = CollectorRegistry()
    gauge = LateGauge("trained_timestamp_seconds", "End", registry)
    assert registry.get_sample_value("trained_timestamp_seconds") is None
    gauge.set(5.0)
    assert registry.get_sample_value("trained_timestamp_seconds") == 5.0
