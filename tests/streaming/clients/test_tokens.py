"""Tokens for SASL OAUTHBEARER: how long each is used, where they come from, and what is said when none comes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_detector.errors import BrokerError, UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.tokens import Token, TokenSource, token_source
from tests.support.stack.tokens import SECRET, TokenServer


@pytest.fixture
def server() -> Iterator[TokenServer]:
    running = TokenServer()
    yield running
    running.close()


def settings_for(url: str, folder: Path, **more: Any) -> Settings:
    (folder / "secret").write_text(SECRET + "\n")
    return Settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_username="detector",
        sasl_password_file=folder / "secret",
        sasl_token_url=url,
        **more,
    )


def test_a_token_is_used_for_most_of_its_life() -> None:
    now, made = [1000.0], []

    def fetch() -> Token:
        made.append(now[0])
        return Token(f"t{len(made)}", now[0] + 100)

    source = TokenSource(fetch, clock=lambda: now[0])
    assert source().text == source().text == "t1"
    now[0] = 1079.0
    assert source().text == "t1"
    now[0] = 1081.0
    assert source().text == "t2"


def test_a_client_asks_with_its_id_its_secret_and_its_scope(server: TokenServer, tmp_path: Path) -> None:
    began = time.time()
    token = token_source(settings_for(server.url, tmp_path, sasl_token_scope="kafka read"))()
    assert token.text.count(".") == 2
    assert began + 590 < token.expires_at < time.time() + 610
    assert server.forms == ["grant_type=client_credentials&scope=kafka+read"]


def test_a_wrong_secret_is_told_without_showing_it(server: TokenServer, tmp_path: Path) -> None:
    settings = settings_for(server.url, tmp_path)
    (tmp_path / "secret").write_text("not-the-secret")
    with pytest.raises(BrokerError, match="refuses a token to client 'detector': 401") as told:
        token_source(settings)()
    assert "not-the-secret" not in str(told.value)


def test_a_token_server_that_is_away_is_named(server: TokenServer, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(BrokerError, match=r"http://127\.0\.0\.1:\d+/token gives no token"):
        token_source(settings_for(server.url, tmp_path))()


def test_a_function_of_the_user_makes_the_tokens() -> None:
    settings = Settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_token_callback="tests.support.stack.tokens:made",
    )
    assert token_source(settings)().text.count(".") == 2


@pytest.mark.parametrize("name", ["tests.support.stack.tokens:nothing", "no.such.module:made", "tests"])
def test_a_function_that_is_not_there_is_named(name: str) -> None:
    settings = Settings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_callback=name)
    with pytest.raises(UsageError, match=f"SASL_TOKEN_CALLBACK = {name} cannot be imported"):
        token_source(settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "OAUTHBEARER needs sasl_token_url or sasl_token_callback"),
        ({"sasl_token_url": "http://tokens.example/token"}, "sends a secret"),
        ({"sasl_token_url": "https://tokens.example/token"}, "needs sasl_username and a password"),
    ],
)
def test_settings_that_cannot_work_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", **given)
