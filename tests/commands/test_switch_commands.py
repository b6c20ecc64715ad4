"""`promote` and `rollback` with --bootstrap, without brokers: which alias, or line of a table, changes in whose log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.commands import promote, rollback
from stream_detector.decoding.control_records import DROP_LINE, Order
from stream_detector.decoding.held_table import HeldTable
from stream_detector.errors import BrokerError, BundleError, UsageError
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


@dataclass
class Lines:
    """Whose group has a table, and what was written into its log."""

    registry: Registry
    ids: list[str]
    held: list[HeldTable]
    sent: list[Order] = field(default_factory=list)
    withdrawn: list[str | None] = field(default_factory=list)
    fails: bool = False


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    registry = Registry.create(tmp_path / "registry")
    ids = [
        add_bundle(registry, small_bundle(tmp_path / f"b{number}", threshold=2.75 - 0.3 * number), 1.78e9, "Kim")
        for number in range(3)
    ]
    found = Lines(registry, [added.manifest.bundle_id for added in ids], [])
    found.held = [HeldTable.begun([("*", found.ids[0]), ("m[12]", found.ids[0])], 0, 0)]

    def send(
        _: Settings, order: Order, wait: Callable[[], None], just_before: Callable[[], None], withdraw: str | None
    ) -> int:
        if found.fails:
            raise BrokerError("no answer")
        just_before()
        found.sent.append(order)
        found.withdrawn.append(withdraw)
        return 1

    async def read_lines(_: Settings) -> list[HeldTable]:
        return found.held

    monkeypatch.setattr(orders, "send_switch", send)
    monkeypatch.setattr(orders, "read_lines", read_lines)
    return found


def promoted(lines: Lines, bundle_id: str, assets: str) -> None:
    promote.command(bundle_id, registry=lines.registry.folder, who="Kim", bootstrap="local:1", assets=assets)


def rolled_back(lines: Lines, assets: str, *, withdraw: bool = False) -> None:
    rollback.command(registry=lines.registry.folder, who="Kim", bootstrap="local:1", assets=assets, withdraw=withdraw)


def test_a_line_goes_back_step_by_step_to_what_it_named_first(lines: Lines) -> None:
    a, b, c = lines.ids
    promoted(lines, b, "m[12]")
    promoted(lines, c, "m[12]")
    promoted(lines, c, "*")
    rolled_back(lines, "m[12]")
    rolled_back(lines, "m[12]", withdraw=True)
    assert [(order.control, order.assets, order.bundle) for order in lines.sent] == [
        ("", "m[12]", b),
        ("", "m[12]", c),
        ("", "*", c),
        ("", "m[12]", b),
        ("", "m[12]", a),
    ]
    assert lines.withdrawn == [None, None, None, None, b]
    with pytest.raises(BundleError, match="knows no promotion for 'm\\[12\\]'"):
        rolled_back(lines, "m[12]")
    assert lines.registry.aliases() == {}


def test_a_line_that_a_promotion_put_in_is_taken_out_again(lines: Lines) -> None:
    promoted(lines, lines.ids[1], "m1")
    rolled_back(lines, "m1")
    assert [(order.control, order.bundle) for order in lines.sent] == [("", lines.ids[1]), (DROP_LINE, lines.ids[1])]


def test_a_rollback_whose_records_were_not_taken_is_done_by_the_same_command(lines: Lines) -> None:
    promoted(lines, lines.ids[1], "*")
    promoted(lines, lines.ids[2], "*")
    lines.fails = True
    with pytest.raises(BrokerError):
        rolled_back(lines, "*")
    lines.fails = False
    rolled_back(lines, "*")
    assert lines.sent[-1].bundle == lines.ids[1]


def test_what_the_table_cannot_have_or_a_group_without_one_is_refused_before_anything_is_written(lines: Lines) -> None:
    with pytest.raises(UsageError, match="equally specific"):
        promoted(lines, lines.ids[1], "m[23]")
    lines.held.clear()
    with pytest.raises(UsageError, match=r"decides by one bundle for all of its assets.*with a table"):
        promoted(lines, lines.ids[1], "m1")
    assert lines.sent == []
    promoted(lines, lines.ids[1], "*")
    assert (lines.sent[0].assets, lines.registry.resolve("champion")) == ("", lines.ids[1])
