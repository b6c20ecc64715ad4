from pathlib import Path

import pytest

from stream_detector.errors import UsageError
from stream_detector.settings import PREFIX, Settings, to_markdown
from tests.support.paths import DOCS

PAGE = DOCS / "settings.md"


def test_the_page_lists_every_setting_as_the_code_has_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == to_markdown(), (
        "run python -m stream_detector.settings > docs/settings.md"
    )


def test_every_setting_says_what_it_is() -> None:
    assert all(text for _, _, _, text in Settings.describe())


def test_every_duration_says_its_unit() -> None:
    units = {name: unit for name, _, unit, _ in Settings.describe()}
    assert [name for name, unit in units.items() if name.endswith("_SECONDS") and unit != "s"] == []


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}BOOTSTRAP", "plant:9092")
    assert Settings.load(bootstrap=None).bootstrap == "plant:9092"
    assert Settings.load(bootstrap="other:9093").bootstrap == "other:9093"


@pytest.mark.parametrize("value", ["plant", "plant:", ":9092", "plant:99999", " , "])
def test_an_address_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(UsageError, match=f"^{PREFIX}BOOTSTRAP: (?!Value error)"):
        Settings.load(bootstrap=value)


def test_a_wrong_value_is_not_repeated_for_it_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", "hunter2")
    with pytest.raises(UsageError) as caught:
        Settings.load()
    assert "METRICS_PORT" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    assert Settings.load(sasl_password_file=tmp_path / "password").password() == "geheim"
    assert "geheim" not in repr(Settings.load(sasl_password="geheim"))


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SASL_PASSWORD_FILE"):
        Settings.load(sasl_password_file=tmp_path / "nothing").password()


def test_logging_in_needs_a_user() -> None:
    with pytest.raises(UsageError, match="sasl_username"):
        Settings.load(security_protocol="SASL_SSL")


def test_an_address_of_the_registry_that_compose_leaves_empty_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}SCHEMA_REGISTRY_URL", "")
    assert Settings.load().schema_registry_url is None


def test_the_case_of_a_variable_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX.lower()}Publish_Scores", "yes")
    assert Settings.load().publish_scores


def test_a_value_of_the_wrong_kind_is_refused_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=f"^{PREFIX}ROLE: Input should be 'champion' or 'challenger'"):
        Settings.load(role="king")
    monkeypatch.setenv(f"{PREFIX}ROLE", "king")
    with pytest.raises(UsageError, match=f"^{PREFIX}ROLE: Input should be 'champion' or 'challenger'"):
        Settings.load()
