"""docs/metrics.md lists exactly what the code exposes."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from stream_detector.metrics import RATIO_BUCKETS, BatchHistogram
from tests.support.metric_names import exposed_metrics
from tests.support.paths import DOCS

PAGE = DOCS / "metrics.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<text>.*) \|$", re.MULTILINE)


def listed() -> dict[str, re.Match[str]]:
    return {row["name"]: row for row in ROW.finditer(PAGE.read_text())}


def test_the_page_lists_every_metric_and_no_other() -> None:
    assert set(listed()) == set(exposed_metrics())


@pytest.mark.parametrize("name", sorted(exposed_metrics()))
def test_the_page_gives_type_labels_and_meaning(name: str) -> None:
    exposed, row = exposed_metrics()[name], listed()[name]
    assert row["kind"] == exposed.kind
    assert set(re.findall(r"`(\w+)`", row["labels"])) == exposed.labels
    assert row["text"] == exposed.text


@given(st.lists(st.lists(st.floats(min_value=0, max_value=20, allow_nan=False), max_size=30), max_size=5))
def test_a_batch_histogram_counts_like_one_observation_at_a_time(batches: list[list[float]]) -> None:
    registry, naive_registry = CollectorRegistry(), CollectorRegistry()
    histogram = BatchHistogram("ratio", "Ratio", RATIO_BUCKETS, registry)
    naive = Histogram("ratio", "Ratio", buckets=RATIO_BUCKETS, registry=naive_registry)
    for batch in batches:
        histogram.observe(np.asarray(batch))
        for value in batch:
            naive.observe(value)
    for edge in [*map(str, RATIO_BUCKETS), "+Inf"]:
        labels = {"le": edge}
        assert registry.get_sample_value("ratio_bucket", labels) == naive_registry.get_sample_value(
            "ratio_bucket", labels
        )
    total = registry.get_sample_value("ratio_sum")
    assert total == pytest.approx(naive_registry.get_sample_value("ratio_sum"))


def test_a_batch_histogram_leaves_out_what_is_not_finite() -> None:
    registry = CollectorRegistry()
    BatchHistogram("ratio", "Ratio", RATIO_BUCKETS, registry).observe([0.5, float("nan"), float("inf")])
    assert registry.get_sample_value("ratio_count") == 1
