"""Each reason why brokers cannot be reached has words of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import Unreachable, why_unreachable
from tests.support.stack.kafka import free_port


async def diagnose_beside(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **changes: str
) -> Unreachable:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await why_unreachable(Settings(bootstrap=f"127.0.0.1:{port}", **changes))
    assert found is not None
    return found


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def reason_at(address: str) -> str:
    found = asyncio.run(why_unreachable(Settings(bootstrap=address)))
    assert found is not None
    assert not found.refused
    return found.reason


def test_an_address_where_nobody_is() -> None:
    assert "nothing listens at 127.0.0.1:" in reason_at(f"127.0.0.1:{free_port()}")
    assert "the host of no-such-host.invalid:9092 is not known" in reason_at("no-such-host.invalid:9092")


def test_tls_to_a_port_that_speaks_none_is_a_refusal() -> None:
    found = asyncio.run(diagnose_beside(hang_up, security_protocol="SSL"))
    assert "does not speak TLS" in found.reason
    assert found.refused


def test_something_else_than_kafka_closes_the_connection() -> None:
    found = asyncio.run(
        diagnose_beside(hang_up, security_protocol="SASL_PLAINTEXT", sasl_username="u", sasl_password="p")
    )
    assert "what this port speaks" in found.reason
    assert "p" not in found.reason.split()
