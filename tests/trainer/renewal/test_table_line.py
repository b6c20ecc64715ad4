"""One line of a table of bundles is renewed: by its own assets, in the log, and beside the renewals of other lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.bundle import journal
from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import LineChange, Registry
from stream_detector.decoding.control_records import Order
from stream_detector.decoding.held_table import HeldTable
from stream_detector.errors import BrokerError, DataError, UsageError
from stream_detector.messages import RenewalDecision
from stream_detector.settings import Settings
from tests.support.properties import fast_first
from tests.trainer.fitting.test_fleet import FLEET, plant, recipe
from tests.trainer.renewal.test_promotion import Killed, Log
from trainer.commands.renew import accepting, reader, require_line
from trainer.data.dataset import Dataset
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe
from trainer.renewal import round as renewal_round
from trainer.renewal.judging import Verdict
from trainer.renewal.policy import Rules
from trainer.renewal.round import Plan, Renewal
from trainer.renewal.table_line import GroupTable, TableLine

HOUR = 3600.0
LINE = "m[12]"


class Group(Log):
    """A group whose workers obey at once."""

    def __init__(self, name: str, lines: dict[str, str]) -> None:
        super().__init__()
        self.name = name
        begun = HeldTable.begun(lines.items(), 0, 0)
        # Partitions began at different records.
        self.partitions = [begun, HeldTable.begun(lines.items(), 3, 2, 70)] if lines else []
        self.orders: list[Order] = []

    def write(self, order: Order, just_before: Callable[[], None]) -> None:
        super().write(order, just_before)
        self.orders.append(order)
        term = len(self.orders) + 10
        self.partitions = [held.changed(order.assets, order.bundle, term, term, None) for held in self.partitions]

    @property
    def lines(self) -> dict[str, str]:
        return dict(self.partitions[0].in_force)

    @property
    def table(self) -> GroupTable:
        return GroupTable(self.name, lambda: self.partitions, self.write)


class TablePlant:
    """Three machines, decided about by three lines: `m[12]` has m1 alone, for m2 has a line of its own."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.registry = Registry.create(folder / "registry")
        fit_recipe(recipe(FLEET), plant(3, seed=5), folder / "bundle")
        self.first = add_bundle(self.registry, folder / "bundle", 1.7e9, "Kim").manifest.bundle_id
        lines = {"*": self.first, LINE: self.first, "m2": self.first}
        self.champion = Group("plant", lines)
        self.challenger = Group("plant-challenger", {LINE: self.first})
        self.rules = Rules(**{"policy": "managed", "every_seconds": HOUR, "least_days": 1, "least_events": 1, **rules})
        self.told: list[RenewalDecision] = []
        self.hours = 7.0
        self.clock = 1.8e9
        self.book: Verdict | None = None

    def renewal(self, assets: str = LINE, tell: Callable[[RenewalDecision], None] | None = None) -> Renewal:
        line = TableLine(
            self.registry, assets, self.champion.table, self.challenger.table, tries=self.rules.trial_days > 0
        )
        plan = Plan(self.rules, look_seconds=HOUR, judge_seconds=2 * HOUR, refit_seconds=2 * HOUR)

        def read(_: Recipe) -> Dataset:
            machines = plant(3)
            own = np.array([line.decides(name) for name in machines.assets])
            seen = machines.times < machines.times[0] + self.hours * HOUR + 60.0
            return machines.take(own[machines.asset_rows] & seen)

        return Renewal(
            self.registry, plan, read, tell or self.told.append, self.now, place=line, book=lambda *_: self.book
        )

    def now(self) -> float:
        self.clock += 1.0
        return self.clock


@pytest.fixture
def better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every candidate is found to be better."""
    real = vars(renewal_round)["decide"]

    def decide(rules: Rules, champion: str, _: Verdict) -> Any:
        return real(rules, champion, Verdict(0.0, HOUR, 9, 30, 0.3, 0.2, 0.1, 0.0, 0.2))

    monkeypatch.setattr(renewal_round, "decide", decide)


@pytest.mark.usefixtures("better")
def test_a_line_is_fitted_on_its_own_assets_and_changes_alone(tmp_path: Path) -> None:
    site = TablePlant(tmp_path)
    decision = site.renewal().run()
    assert decision is not None
    assert (decision.outcome, decision.champion, decision.why[:9]) == ("promoted", site.first, "refitted ")
    assert (decision.of, decision.alias, decision.group, decision.assets) == (f"plant/{LINE}", "", "plant", LINE)
    candidate = str(decision.candidate)
    manifest = load_bundle(site.registry.folder_of(candidate)).manifest
    assert manifest.fleet is not None
    assert manifest.fleet.assets == ("m1",)
    assert site.champion.lines == {"*": site.first, LINE: candidate, "m2": site.first}
    (change,) = site.registry.lines("plant")
    assert (change.assets, change.bundle, change.instead_of, change.who) == (
        LINE, candidate, site.first, "trainer renew",
    )  # fmt: skip
    assert site.registry.aliases() == {}
    assert site.registry.line_before("plant", LINE) == (candidate, site.first), "a person may roll it back"
    assert site.renewal().run() is None


@pytest.mark.usefixtures("better")
def test_lines_of_one_table_are_renewed_beside_each_other(tmp_path: Path) -> None:
    site = TablePlant(tmp_path)
    lines = ("*", LINE, "m2")
    first = {assets: site.renewal(assets).run() for assets in lines}
    site.hours = 9.0
    again = {assets: site.renewal(assets).run() for assets in reversed(lines)}
    for assets in lines:
        one, other = first[assets], again[assets]
        assert one is not None
        assert other is not None
        assert other.champion == one.candidate
        assert site.champion.lines[assets] == other.candidate
        assert site.renewal(assets).last() == other
    assert len({decision.id for decision in site.told}) == len(site.told) == 6
    assert [order.assets for order in site.champion.orders] == [*lines, *reversed(lines)]
    assert site.challenger.orders == []


@pytest.mark.usefixtures("better")
@pytest.mark.parametrize("step", fast_first(["decision", "told", "change_line", "before", "write", "tell"], 3))
def test_a_round_of_a_line_that_is_killed_is_finished_by_the_next_and_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site = TablePlant(tmp_path)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step in ("decision", "told"):
            real_append = journal.append

            def append(path: Path, entry: dict[str, Any]) -> None:
                real_append(path, entry)
                if step in entry:
                    raise Killed

            patch.setattr(journal, "append", append)
        if step == "change_line":
            real_change = Registry.change_line

            def change_line(registry: Registry, group: str, change: LineChange) -> None:
                real_change(registry, group, change)
                raise Killed

            patch.setattr(Registry, "change_line", change_line)
        if step == "before":
            site.champion.between = kill
        if step == "write":
            site.champion.instead = Killed()
        with pytest.raises(Killed):
            site.renewal(tell=kill if step == "tell" else None).run()
    site.champion.between, site.champion.instead = (lambda: None), None
    for _ in range(2):
        site.renewal().run()
    candidates = [bundle_id for bundle_id in site.registry.ids() if bundle_id != site.first]
    assert [site.champion.lines[LINE]] == candidates
    last = site.renewal().last()
    assert last is not None
    assert len(site.registry.lines("plant")) == 1
    assert {decision.id for decision in site.told} == {last.id}
    assert all(decision == site.told[0] for decision in site.told)


def by_hand(site: TablePlant, bundle: str | None, what: Any = "promoted") -> None:
    """A person changes the line, as `promote --assets` and `rollback --assets` do."""
    at = "2027-11-01T00:00:00Z"
    site.champion.partitions = [held.changed(LINE, bundle, 9, 9, None) for held in site.champion.partitions]
    site.registry.change_line("plant", LineChange(at=at, who="Kim", what=what, assets=LINE, bundle=bundle))


@pytest.mark.usefixtures("better")
@pytest.mark.parametrize(
    ("step", "bundle", "said"),
    [
        ("decision", "f" * 16, f"meanwhile Kim let {'f' * 16} decide for '{LINE}', so it stays"),
        ("decision", None, f"meanwhile Kim took the line '{LINE}' out, so that stays"),
        ("between", "f" * 16, f"meanwhile Kim let {'f' * 16} decide for '{LINE}', so it stays"),
    ],
)
def test_who_changes_the_line_before_a_decision_is_carried_out_is_not_overruled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, bundle: str | None, said: str
) -> None:
    site = TablePlant(tmp_path)
    if step == "between":
        site.champion.between = lambda: by_hand(site, bundle)
        site.renewal().run()
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Renewal, "_carry_out", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                site.renewal().run()
        by_hand(site, bundle)
        with pytest.raises(Exception, match=r"no bundle|no such line"):
            site.renewal().run()
    assert site.champion.orders == []
    assert site.champion.lines.get(LINE) == bundle
    (told,) = site.told
    assert (told.outcome, told.why.endswith(said)) == ("kept", True), told.why


@pytest.mark.usefixtures("better")
def test_a_promotion_that_could_not_be_told_is_not_done_again_over_a_rollback(tmp_path: Path) -> None:
    site = TablePlant(tmp_path)

    def away(_: RenewalDecision) -> None:
        raise BrokerError("no broker")

    with pytest.raises(BrokerError):
        site.renewal(tell=away).run()
    by_hand(site, site.first, "rolled back")
    assert site.renewal().run() is None
    assert site.champion.lines[LINE] == site.first
    assert [decision.outcome for decision in site.told] == ["promoted"]


@pytest.mark.usefixtures("better")
@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "promoted"), (-0.1, "kept")])
def test_a_candidate_is_tried_in_the_line_of_the_challengers_table(
    tmp_path: Path, difference: float, outcome: str
) -> None:
    site = TablePlant(tmp_path, trial_days=1, trial_events=1)
    trial = site.renewal().run()
    assert trial is not None
    assert trial.outcome == "trial"
    assert site.champion.orders == []
    assert site.challenger.lines == {LINE: trial.candidate}
    assert site.registry.lines("plant-challenger", LINE)[-1].bundle == trial.candidate
    site.hours = 8.0
    assert site.renewal().run() is None, "nothing is fitted while a trial goes on"
    site.book = Verdict(0.0, 86_400.0, 1, 3, 0.2 + difference, 0.2, difference, None, None)
    ended = site.renewal().run()
    assert ended is not None
    assert (ended.outcome, ended.candidate) == (outcome, trial.candidate)
    assert site.champion.lines[LINE] == (trial.candidate if outcome == "promoted" else site.first)


@pytest.mark.usefixtures("better")
def test_a_trial_ends_where_a_person_changes_one_of_the_two_lines(tmp_path: Path) -> None:
    site = TablePlant(tmp_path, trial_days=1, trial_events=1)
    site.renewal().run()
    at = "2027-11-01T00:00:00Z"
    other = LineChange(at=at, who="Kim", what="promoted", assets=LINE, bundle=site.first)
    site.registry.change_line("plant-challenger", other)
    site.challenger.partitions = [HeldTable.begun([(LINE, site.first)], 0, 0)]
    site.hours = 8.0
    ended = site.renewal().run()
    assert ended is not None
    assert ended.outcome == "kept"
    assert f"{site.first} is the challenger for '{LINE}' meanwhile" in ended.why


@pytest.mark.usefixtures("better")
def test_a_proposal_decides_beside_the_champion_where_a_challenger_has_a_table(tmp_path: Path) -> None:
    site = TablePlant(tmp_path, policy="manual")
    site.challenger.partitions = [HeldTable.begun([("oven", site.first)], 0, 0)]
    decision = site.renewal().run()
    assert decision is not None
    assert decision.outcome == "proposed"
    assert site.challenger.lines == {"oven": site.first, LINE: decision.candidate}
    site.challenger.partitions, site.hours = [], 9.0
    again = site.renewal().run()
    assert again is not None
    assert (again.outcome, again.champion, site.champion.orders) == ("proposed", site.first, [])


@pytest.mark.parametrize(
    ("lines", "assets", "said"),
    [
        ({}, LINE, "group plant decides by one bundle, and has no lines"),
        ({"*": "a" * 16}, LINE, r"has no such line; it has '\*'"),
        ({"m1?": "a" * 16, "m?1": "a" * 16}, "m1?", "equally specific"),
    ],
)
def test_what_is_no_line_of_its_own_is_refused_with_what_to_give(
    tmp_path: Path, lines: dict[str, str], assets: str, said: str
) -> None:
    group = Group("plant", lines)
    line = TableLine(Registry.create(tmp_path / "registry"), assets, group.table, group.table)
    with pytest.raises(UsageError, match=said):
        line.look()


def test_a_trial_is_refused_where_no_challenger_has_a_table(tmp_path: Path) -> None:
    site = TablePlant(tmp_path, trial_days=1)
    site.challenger.partitions = []
    with pytest.raises(UsageError, match="start a worker with --role challenger"):
        site.renewal().run()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"assets": "", "alias": None, "way": "auto", "told": True}, "a glob over names of assets is wanted"),
        ({"assets": "a", "alias": "champion", "way": "auto", "told": True}, "no alias"),
        ({"assets": "a", "alias": None, "way": "alias", "told": True}, "in the log alone"),
        ({"assets": "a", "alias": None, "way": "auto", "told": False}, "--bootstrap"),
    ],
)
def test_options_that_do_not_go_with_a_line_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_line(**options)


def test_of_a_file_the_rows_of_the_lines_assets_are_read(tmp_path: Path) -> None:
    (tmp_path / "plant.csv").write_text(
        "time,asset,flow,pressure,y\n" + "".join(f"{1.7e9 + 60 * row:.0f},m{row % 3},1,2,0\n" for row in range(12))
    )
    group = Group("plant", {"*": "a" * 16, LINE: "b" * 16, "m2": "b" * 16})

    def read(assets: str, asset: str | None = None) -> Dataset:
        line = TableLine(Registry.create(tmp_path / "registry"), assets, group.table, group.table)
        line.look()
        return reader(Settings(), tmp_path / "plant.csv", asset, line)(recipe(FLEET))

    assert [name for name, _ in read(LINE).by_asset()] == ["m1"]
    assert [name for name, _ in read("*").by_asset()] == ["m0"]
    with pytest.raises(UsageError, match="another line of the table"):
        read(LINE, "m2")
    group.partitions = [held.changed("oven", "a" * 16, 1, 1, None) for held in group.partitions]
    with pytest.raises(DataError, match="no row is of an asset"):
        read("oven")


def test_the_command_that_accepts_a_proposal_can_be_copied_into_a_shell() -> None:
    said = accepting(Settings(bootstrap="kafka:9092"), "plant", ["--assets", "line1-*"], "a" * 16)
    assert said == f"stream-detector promote {'a' * 16} --assets 'line1-*' --bootstrap kafka:9092 --group plant"


def test_a_glob_that_is_too_long_for_the_name_of_a_file_has_a_journal_of_its_own(tmp_path: Path) -> None:
    group, registry = Group("plant", {}), Registry.create(tmp_path / "registry")
    names = [TableLine(registry, "é" * 100 + end, group.table, group.table).journal.name for end in "ab"]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 255
