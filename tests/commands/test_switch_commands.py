"""`promote` and `rollback` with --bootstrap, without brokers: which alias changes together with whose log."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.commands import promote, rollback
from stream_detector.decoding.control_records import Order
from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds import orders
from tests.support.plant import small_bundle


def test_a_switch_of_the_challengers_group_leaves_the_champion_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []
    withdrawn: list[str | None] = []

    def send(
        _: Settings, order: Order, wait: Callable[[], None], just_before: Callable[[], None], withdraw: str | None
    ) -> int:
        just_before()
        sent.append((order.group, order.bundle))
        withdrawn.append(withdraw)
        return 1

    monkeypatch.setattr(orders, "send_switch", send)
    registry = Registry.create(tmp_path / "registry")
    old, new = (
        add_bundle(registry, small_bundle(tmp_path / name, threshold=threshold), 1.78e9, "Kim").manifest.bundle_id
        for name, threshold in (("a", 2.75), ("b", 2.45))
    )
    for alias in ("champion", "challenger"):
        registry.promote(alias, old, "2026-11-01T00:00:00Z", "Kim")
    promote.command(new, registry=registry.folder, who="Kim", bootstrap="local:1", role="challenger")
    assert (registry.resolve("champion"), registry.resolve("challenger")) == (old, new)
    rollback.command(registry=registry.folder, who="Kim", bootstrap="local:1", role="challenger")
    assert registry.resolve("challenger") == old
    promote.command(new, registry=registry.folder, who="Kim", bootstrap="local:1")
    assert (registry.resolve("champion"), registry.resolve("challenger")) == (new, old)
    challengers = Settings().group + "-challenger"
    rollback.command(registry=registry.folder, who="Kim", bootstrap="local:1", withdraw=True)
    mine = Settings().group
    assert sent == [(challengers, new), (challengers, old), (mine, new), (mine, old)]
    assert withdrawn == [None, None, None, new]


def test_only_a_record_of_the_log_can_be_withdrawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--bootstrap"):
        rollback.command(registry=tmp_path, withdraw=True)
