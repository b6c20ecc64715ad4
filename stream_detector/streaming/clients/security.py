"""The security settings in the words of each Kafka client."""

import ssl
from typing import Any

from stream_detector.errors import UsageError
from stream_detector.settings import Settings


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """TLS as the settings say; the brokers' certificates are always checked.

    Raises:
        UsageError: a file cannot be read or is no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        context.check_hostname = settings.ssl_check_hostname
        if settings.ssl_cert_file is not None:
            password = settings.ssl_key_password_file
            context.load_cert_chain(
                settings.ssl_cert_file,
                settings.ssl_key_file,
                None if password is None else password.read_text(encoding="utf-8").strip(),
            )
    except OSError as error:  # ssl.SSLError is one
        files = [settings.ssl_ca_file, settings.ssl_cert_file, settings.ssl_key_file, settings.ssl_key_password_file]
        named = ", ".join(str(file) for file in files if file is not None)
        raise UsageError(f"TLS files cannot be used ({named}): {error}") from None
    return context


def aiokafka_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client needs to reach the brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.password()
    return options
