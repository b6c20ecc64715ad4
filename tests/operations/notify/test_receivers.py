import asyncio
from collections.abc import Callable
from typing import Any, Never

import aiohttp
import pytest
from aiohttp import web

from stream_detector.operations.notify.notification import Notification, Writer
from stream_detector.operations.notify.receivers import Alertmanager, DeliveryError, RefusedError, Webhook
from tests.support.messages import MIDNIGHT, make_alarm
from tests.support.paths import DEPLOY
from tests.support.stack import monitoring
from tests.support.stack.http_receiver import HttpReceiver

CONFIGURATION = DEPLOY / "alertmanager" / "alertmanager.yml"


def deliver(make: Callable[..., Any], *notifications: Notification, timeout_seconds: float = 5.0) -> None:
    async def go() -> None:
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            receiver = make(session)
            for notification in notifications:
                await receiver.deliver([notification])

    asyncio.run(go())


def test_a_webhook_that_hangs_is_given_up_in_time() -> None:
    with HttpReceiver() as receiver:
        receiver.mode = "hang"
        with pytest.raises(DeliveryError, match="Timeout"):
            deliver(lambda s: Webhook(s, receiver.url), Writer().write(make_alarm(1), "raised"), timeout_seconds=0.3)


def test_a_receiver_that_is_not_there_or_refuses_says_so() -> None:
    notification = Writer().write(make_alarm(1), "raised")
    with HttpReceiver() as receiver:
        receiver.mode = "refuse"
        with pytest.raises(DeliveryError, match="answered 503"):
            deliver(lambda s: Webhook(s, receiver.url), notification)
        url = receiver.url
    with pytest.raises(DeliveryError, match="Connect"):
        deliver(lambda s: Webhook(s, url), notification)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait_seconds"),
    [
        (400, {}, RefusedError, None),
        (413, {}, RefusedError, None),
        (401, {}, DeliveryError, None),
        (404, {}, DeliveryError, None),
        (429, {"Retry-After": "17"}, DeliveryError, 17.0),
        (503, {"Retry-After": "999999"}, DeliveryError, 3_600.0),
        (503, {"Retry-After": "soon"}, DeliveryError, None),
    ],
)
def test_a_refusal_of_the_content_is_told_from_one_that_would_meet_every_alarm(
    status: int, headers: dict[str, Any], kind: type[Any], wait_seconds: float | None
) -> None:
    async def go() -> Any:
        async def answer(_: Any) -> Any:
            return web.Response(status=status, headers=headers)

        app = web.Application()
        app.add_routes([web.post("/", answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(DeliveryError) as raised:
                await Webhook(session, url).deliver([Writer().write(make_alarm(1), "raised")])
        await runner.cleanup()
        return raised.value

    error = asyncio.run(go())
    assert (type(error), error.wait_seconds) == (kind, wait_seconds)


def test_a_redirect_is_no_acceptance() -> None:
    async def go() -> None:
        async def elsewhere(_: Any) -> Never:
            raise web.HTTPFound("/login")

        async def login(_: Any) -> Any:
            return web.Response(text="please log in")

        app = web.Application()
        app.add_routes([web.post("/", elsewhere), web.get("/login", login)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            with pytest.raises(DeliveryError, match="302"):
                await Webhook(session, f"http://127.0.0.1:{port}/").deliver([Writer().write(make_alarm(1), "raised")])
        await runner.cleanup()

    asyncio.run(go())


@pytest.mark.prometheus
@pytest.mark.slow
def test_an_alarm_of_last_year_replayed_today_is_told_and_cleared_by_alertmanager() -> None:
    if reason := monitoring.why_no_monitoring():
        pytest.skip(reason)
    writer, alarm = Writer(), make_alarm(1)
    with HttpReceiver() as operators, monitoring.Alertmanager(CONFIGURATION, {"operators": operators.url}) as running:
        deliver(lambda s: Alertmanager(s, running.url), writer.write(alarm, "raised"))
        assert operators.wait_for(1)
        deliver(lambda s: Alertmanager(s, running.url), writer.write(alarm, "cleared", MIDNIGHT + 600))
        assert operators.wait_for(2)
        assert [body["status"] for body in operators.bodies] == ["firing", "resolved"]
        assert running.alerts() == []


@pytest.mark.prometheus
@pytest.mark.slow
def test_alertmanager_takes_every_text_in_every_language() -> None:
    if reason := monitoring.why_no_monitoring():
        pytest.skip(reason)
    with monitoring.Alertmanager(CONFIGURATION) as running:
        for language in ("en", "ko"):
            alarm = make_alarm(1, asset=f"설비 {language}", top_sensors=[])
            deliver(lambda s: Alertmanager(s, running.url), Writer(language).write(alarm, "raised"))
        assert {alert["labels"]["asset"] for alert in running.alerts()} == {"설비 en", "설비 ko"}
