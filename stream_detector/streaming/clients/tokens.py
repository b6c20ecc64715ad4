"""Tokens for brokers that demand SASL OAUTHBEARER: for a client's secret, or by a function of the user."""

import base64
import importlib
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from stream_detector.errors import BrokerError, UsageError
from stream_detector.settings import Settings

ANSWER_SECONDS = 10.0
RENEW_AT = 0.8
"""Part of a token's life after which another one is asked for."""
LIFE_SECONDS = 300.0
"""Of a token that does not say how long it lives."""


class Token(Struct, frozen=True):
    """`text` is good until `expires_at` (epoch seconds)."""

    text: str
    expires_at: float


class TokenSource:
    """Tokens, each used for most of its life. May be called from any thread.

    fetch: makes a new one.
    """

    def __init__(self, fetch: Callable[[], Token], clock: Callable[[], float] = time.time) -> None:
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0

    def __call__(self) -> Token:
        with self._lock:
            now = self._clock()
            if self._token is None or now >= self._renew_at:
                self._token = self._fetch()
                self._renew_at = now + RENEW_AT * (self._token.expires_at - now)
            return self._token


def token_source(settings: Settings) -> TokenSource:
    """The source that the settings name.

    Raises:
        UsageError: the function that they name is not there.
    """
    if settings.sasl_token_callback is not None:
        return TokenSource(_of_callback(settings.sasl_token_callback))
    return TokenSource(lambda: _with_credentials(settings))


def _of_callback(name: str) -> Callable[[], Token]:
    module, _, function = name.partition(":")
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"STREAM_DETECTOR_SASL_TOKEN_CALLBACK = {name} cannot be imported ({error}); give MODULE:FUNCTION of "
            "a module on PYTHONPATH"
        ) from error

    def fetch() -> Token:
        given = found()
        if isinstance(given, str):
            return Token(given, time.time() + LIFE_SECONDS)
        text, expires_at = given
        return Token(str(text), float(expires_at))

    return fetch


def _with_credentials(settings: Settings) -> Token:
    """OAuth 2.0 client credentials (RFC 6749, 4.4); BrokerError where the server gives no token."""
    url, secret = settings.sasl_token_url or "", settings.password() or ""
    form = {"grant_type": "client_credentials"} | (
        {"scope": settings.sasl_token_scope} if settings.sasl_token_scope else {}
    )
    names = (urllib.parse.quote(part, safe="") for part in (settings.sasl_username or "", secret))
    login = base64.b64encode(":".join(names).encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the settings take https and, on loopback, http
        url, urllib.parse.urlencode(form).encode(), {"Authorization": f"Basic {login}", "Accept": "application/json"}
    )
    tls = ssl.create_default_context(cafile=settings.sasl_token_ca_file) if url.startswith("https:") else None
    asked_at = time.time()
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=tls) as answer:  # noqa: S310
            found = json.load(answer)
        return Token(str(found["access_token"]), asked_at + float(found.get("expires_in", LIFE_SECONDS)))
    except urllib.error.HTTPError as error:
        raise BrokerError(
            f"{url} refuses a token to client {settings.sasl_username!r}: {error.code} {error.reason}; see "
            "STREAM_DETECTOR_SASL_USERNAME and STREAM_DETECTOR_SASL_PASSWORD_FILE"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise BrokerError(f"{url} gives no token: {error!r}") from None
