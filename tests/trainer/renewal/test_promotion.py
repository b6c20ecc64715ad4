"""An alias comes to stand for a candidate, in the log too, once, wherever that is killed and whoever comes between."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import Order
from stream_detector.errors import BrokerError
from stream_detector.messages import RenewalDecision
from trainer.renewal.promotion import GroupLog, Promotions, Way

OLD, NEW, OTHER = "a" * 16, "b" * 16, "c" * 16
GROUP = "plant"
DECISION = RenewalDecision(
    id="champion/r",
    alias="champion",
    round="2026-05-02T00:00:00Z",
    at="2026-05-02T00:10:00Z",
    who="trainer renew",
    outcome="promoted",
    why="it is better",
    trigger="drift",
    champion=OLD,
    candidate=NEW,
)


class Killed(BaseException):
    """Stands in for SIGKILL."""


class Log:
    """What was written into the log of a group; `between` happens while workers fetch the bundle."""

    def __init__(self) -> None:
        self.switches: list[str] = []
        self.between: Callable[[], object] = lambda: None
        self.instead: BaseException | None = None

    def write(self, order: Order, just_before: Callable[[], None]) -> None:
        self.between()
        just_before()
        if self.instead is not None:
            raise self.instead
        self.switches.append(order.bundle)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry.create(tmp_path / "registry")
    for bundle_id in (OLD, NEW, OTHER):
        found.folder_of(bundle_id).mkdir(parents=True)
    return found


def promotions(registry: Registry, log: Log, way: Way = "auto") -> Promotions:
    return Promotions(registry, way, {"champion": GroupLog(GROUP, log.write)})


def begin(registry: Registry, group: str | None = GROUP) -> None:
    registry.promote("champion", OLD, "2026-05-01T00:00:00Z", "Kim", "", group)


@pytest.mark.parametrize(
    ("way", "before", "switches"),
    [("auto", GROUP, [NEW]), ("auto", None, []), ("log", None, [NEW]), ("alias", GROUP, [])],
)
def test_workers_change_over_in_the_log_where_they_follow_it_or_where_that_is_asked_for(
    registry: Registry, way: Way, before: str | None, switches: list[str]
) -> None:
    begin(registry, before)
    log = Log()
    assert promotions(registry, log, way).promote("champion", DECISION, OLD) is None
    assert log.switches == switches
    assert registry.changes("champion")[-1].group == (GROUP if switches else None)
    assert registry.resolve("champion") == NEW


def test_a_first_champion_is_not_written_into_a_log_whose_workers_may_know_no_registry(registry: Registry) -> None:
    log = Log()
    promotions(registry, log, "log").promote("champion", DECISION)
    assert (registry.resolve("champion"), log.switches) == (NEW, [])


@pytest.mark.parametrize("way", ["auto", "log"])
def test_a_promotion_that_was_killed_between_alias_and_record_is_finished_once(registry: Registry, way: Way) -> None:
    begin(registry)
    log = Log()
    log.instead = Killed()
    with pytest.raises(Killed):
        promotions(registry, log, way).promote("champion", DECISION, OLD)
    log.instead = None
    for _ in range(2):
        assert promotions(registry, log, way).promote("champion", DECISION, OLD) is None
    assert log.switches == [NEW, NEW]  # the second one changes nothing
    assert [change.bundle for change in registry.changes("champion")] == [OLD, NEW]


def test_a_rollback_after_a_kill_between_alias_and_record_stays(registry: Registry) -> None:
    begin(registry)
    log = Log()
    log.instead = BrokerError("it took the record of one partition")
    with pytest.raises(BrokerError):
        promotions(registry, log).promote("champion", DECISION, OLD)
    registry.roll_back("champion", "2026-05-02T00:11:00Z", "Kim", "", GROUP)
    log.instead = None
    promotions(registry, log).promote("champion", DECISION, OLD)
    assert (registry.resolve("champion"), log.switches) == (OLD, [])


@pytest.mark.parametrize("begun", [False, True])
def test_who_decides_otherwise_while_workers_fetch_the_bundle_is_not_overruled(registry: Registry, begun: bool) -> None:
    begin(registry)
    log = Log()
    if begun:
        log.instead = Killed()
        with pytest.raises(Killed):
            promotions(registry, log).promote("champion", DECISION, OLD)
        log.instead = None
    log.between = lambda: registry.promote("champion", OTHER, "2026-05-02T00:10:03Z", "Kim", "", GROUP)
    said = promotions(registry, log).promote("champion", DECISION, OLD)
    assert said == f"meanwhile Kim made {OTHER} the champion, so it stays"
    assert (registry.resolve("champion"), log.switches) == (OTHER, [])
