"""Says why the brokers cannot be reached: a client of Kafka only says that it cannot, whatever the cause."""

import asyncio
import socket
import ssl

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from msgspec import Struct

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.security import aiokafka_options

ANSWER_SECONDS = 4.0


class Unreachable(Struct, frozen=True):
    """`reason`: in words. `refused`: a broker is there and will not have us, so that waiting does not help."""

    reason: str
    refused: bool


async def why_unreachable(settings: Settings) -> Unreachable | None:
    """Tries each address once, as far as the login; None where one of them lets us in.

    A refusal counts before an address that does not answer: it is the one that somebody must do something about.

    Raises:
        UsageError: a certificate or password file cannot be used.
    """
    found = [await _why_not(settings, address) for address in settings.bootstrap.split(",")]
    if any(one is None for one in found):
        return None
    return max((one for one in found if one is not None), key=lambda one: one.refused)


async def in_words_for(settings: Settings, error: Exception) -> str:
    """Why the brokers cannot be reached, after this error; its own words where nothing is in the way any more."""
    found = await why_unreachable(settings)
    return (str(error) or repr(error)) if found is None else found.reason


async def _why_not(settings: Settings, address: str) -> Unreachable | None:
    options = aiokafka_options(settings)
    options.pop("bootstrap_servers")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            # The client hides behind one error what a plain connection tells apart.
            _, writer = await asyncio.open_connection(host, int(port), ssl=options.get("ssl_context"))
            writer.close()
            connection = await create_conn(host, int(port), request_timeout_ms=int(1000 * ANSWER_SECONDS), **options)
            connection.close()
    except BrokerError as error:  # nobody gives us a token
        return Unreachable(str(error), refused=True)
    except (KafkaError, OSError, TimeoutError, ssl.SSLError) as error:
        return _explain(settings, address, error)
    return None


def _explain(settings: Settings, address: str, error: Exception) -> Unreachable:
    user = f"user {settings.sasl_username!r}"
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return Unreachable(
            f"{address} refuses the login of {user} by {settings.sasl_mechanism}: wrong password or no such user; "
            "see STREAM_DETECTOR_SASL_USERNAME and STREAM_DETECTOR_SASL_PASSWORD_FILE",
            refused=True,
        )
    if isinstance(error, UnsupportedSaslMechanismError | AuthenticationMethodNotSupported | IllegalSaslStateError):
        return Unreachable(
            f"{address} does not know the login {settings.sasl_mechanism}; see STREAM_DETECTOR_SASL_MECHANISM "
            "and STREAM_DETECTOR_SECURITY_PROTOCOL",
            refused=True,
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the certificate of {address} is not trusted: {error.verify_message}; see STREAM_DETECTOR_SSL_CA_FILE",
            refused=True,
        )
    if isinstance(error, ssl.SSLError):
        return Unreachable(
            f"{address} does not speak TLS, or wants another certificate of ours ({error.reason}); see "
            "STREAM_DETECTOR_SECURITY_PROTOCOL and STREAM_DETECTOR_SSL_CERT_FILE",
            refused=True,
        )
    if isinstance(error, socket.gaierror):
        return Unreachable(f"the host of {address} is not known", refused=False)
    if isinstance(error, TimeoutError):
        return Unreachable(f"{address} does not answer within {ANSWER_SECONDS:g} s", refused=False)
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"nothing listens at {address}", refused=False)
    return Unreachable(
        f"{address} closes the connection ({error or type(error).__name__}): is STREAM_DETECTOR_SECURITY_PROTOCOL = "
        f"{settings.security_protocol} what this port speaks?",
        refused=False,
    )
