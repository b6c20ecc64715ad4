"""The security settings in the words of each Kafka client."""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from aiokafka.abc import AbstractTokenProvider

from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.tokens import TokenSource, token_source

log = logging.getLogger(__name__)


class RenewedContext(ssl.SSLContext):
    """Takes the files of the settings again for the next connection when they have changed.

    While they cannot be used it stays with what it has. Certificates that were trusted once stay trusted until the
    process ends.
    """

    def __new__(cls, _settings: Settings) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._seen = changed_at(tls_files(settings))
        plain = ssl.create_default_context(cafile=settings.ssl_ca_file)
        self.verify_flags = plain.verify_flags
        self.check_hostname = settings.ssl_check_hostname
        if settings.ssl_ca_file is None:
            self.load_default_certs()
        self._load()

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """As asyncio calls it for each connection."""
        seen = changed_at(tls_files(self._settings))
        if seen != self._seen:
            self._seen = seen
            try:
                # First where nothing is lost by it: a key that does not fit would leave this one without any.
                RenewedContext(self._settings)
                self._load()
            except OSError as error:
                log.warning("new TLS files for Kafka cannot be used, the old ones stay: %s", error)
        return super().wrap_bio(*arguments, **named)

    def _load(self) -> None:
        settings = self._settings
        if settings.ssl_ca_file is not None:
            self.load_verify_locations(settings.ssl_ca_file)
        if settings.ssl_cert_file is not None:
            password = settings.ssl_key_password_file
            self.load_cert_chain(
                settings.ssl_cert_file,
                settings.ssl_key_file,
                None if password is None else password.read_text(encoding="utf-8").strip(),
            )


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """TLS as the settings say; the brokers' certificates are always checked.

    Raises:
        UsageError: a file cannot be read or is no certificate or key.
    """
    try:
        return RenewedContext(settings)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(map(str, tls_files(settings)))
        raise UsageError(f"TLS files cannot be used ({named}): {error}") from None


def tls_files(settings: Settings) -> list[Path]:
    """The files that TLS to the brokers needs."""
    files = [settings.ssl_ca_file, settings.ssl_cert_file, settings.ssl_key_file, settings.ssl_key_password_file]
    return [file for file in files if file is not None]


def changed_at(files: Iterable[Path]) -> tuple[float, ...]:
    """When each was changed, epoch seconds; 0.0 for one that is not there."""
    return tuple(_changed_at(file) for file in files)


def _changed_at(file: Path) -> float:
    try:
        # Of what a link points to: Kubernetes exchanges a link when it renews a Secret.
        return file.stat().st_mtime
    except OSError:
        return 0.0


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens as aiokafka asks for them."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    async def token(self) -> str:
        return (await asyncio.to_thread(self._source)).text


def aiokafka_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client needs to reach the brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    if not settings.security_protocol.startswith("SASL"):
        return options
    options["sasl_mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = _Tokens(token_source(settings))
    else:
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.password()
    return options
