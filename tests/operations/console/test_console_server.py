"""The console's API: what it tells, who may write, and what a browser is told never to do."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from stream_detector.errors import BrokerError
from stream_detector.messages import Feedback, from_iso
from stream_detector.operations.console import server
from stream_detector.operations.console.guard import Guard, Proxy
from stream_detector.operations.http_surface import is_loopback
from tests.support.console.console_plant import ConsolePlant, application

Talk = Callable[[Any], Awaitable[None]]


def talk(conversation: Talk, guard: Guard | None = None, plant: ConsolePlant | None = None) -> ConsolePlant:
    """Serves a plant's console and talks to it."""
    plant = plant or ConsolePlant()

    async def run() -> None:
        async with TestClient(TestServer(application(plant, guard))) as client:
            await conversation(client)

    asyncio.run(run())
    return plant


async def events(response: ClientResponse, count: int) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    while len(found) < count:
        name = (await response.content.readline()).decode().removeprefix("event: ").strip()
        data = json.loads((await response.content.readline()).decode().removeprefix("data: "))
        await response.content.readline()
        found.append((name, data))
    return found


def body(**more: object) -> dict[str, object]:
    return {"action": "shelve", "asset": "pm-1", "who": "Kim", "reason": "cleaning", "minutes": 30, **more}


def test_every_answer_forbids_foreign_scripts_frames_and_guessing_of_types() -> None:
    async def conversation(client: Any) -> None:
        for path in ("/", "/console/main.js", "/console/nothing.js", "/console/api/assets/nobody"):
            response = await client.get(path)
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in response.headers

    talk(conversation)


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    async def conversation(client: Any) -> None:
        page = await (await client.get("/")).text()
        assert "://" not in page
        for name in ("main.js", "charts.js", "connection.js", "console.css", "words.js"):
            text = await (await client.get(f"/console/{name}")).text()
            assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
            assert "innerHTML" not in text

    talk(conversation)


def test_a_file_outside_the_folder_is_not_served() -> None:
    async def conversation(client: Any) -> None:
        for path in ("/console/..%2Fserver.py", "/console/%2e%2e%2fserver.py", "/console/server.py"):
            assert (await client.get(path)).status == 404

    talk(conversation)


def test_the_stream_begins_with_everything_and_goes_on_with_what_changed() -> None:
    plant = ConsolePlant()

    async def conversation(client: Any) -> None:
        async with client.get("/console/api/stream") as response:
            assert response.content_type == "text/event-stream"
            [(name, first)] = await events(response, 1)
            assert name == "change"
            assert first["full"]
            assert [asset["asset"] for asset in first["assets"]] == ["pm-1", "pm-2", "pm-3", "pm-4"]
            assert first["ledger"]["total"]["missed"] == 1
            plant.observe(plant.machines[1].sample(0, first["assets"][1]["time"] + 120, alarm=False, warming_up=False))
            [(name, second)] = await events(response, 1)
            assert name == "change"
            assert not second["full"]
            assert [asset["asset"] for asset in second["assets"]] == ["pm-2"]
            # A step is sent without the alarms and the ledger again.
            assert "alarms" not in second

    talk(conversation, plant=plant)


@pytest.mark.slow
def test_a_silent_plant_still_sends_a_beat_so_that_silence_means_a_lost_connection() -> None:
    async def conversation(client: Any) -> None:
        async with client.get("/console/api/stream") as response:
            found = await events(response, 2)
            assert [name for name, _ in found] == ["change", "beat"]
            assert found[1][1]["now"] > found[0][1]["now"]

    talk(conversation)


def test_the_series_of_an_asset_has_the_sensors_that_were_asked_for() -> None:
    async def conversation(client: Any) -> None:
        response = await client.get("/console/api/assets/pm-1?hours=2&sensor=x7&sensor=nobody")
        found = await response.json()
        assert len(found["time"]) == 61
        assert [trace["sensor"] for trace in found["traces"]] == ["x7"]
        assert len(found["traces"][0]["expected"]) == 61
        assert (await client.get("/console/api/assets/nobody")).status == 404
        assert (await client.get("/console/api/assets/pm-1?hours=x")).status == 400

    talk(conversation)


def test_feedback_gets_the_time_of_the_detector_and_reaches_its_topic() -> None:
    async def conversation(client: Any) -> None:
        response = await client.post("/console/api/feedback", json=body(at="1999-01-01T00:00:00Z"))
        assert response.status == 200, await response.text()

    plant = talk(conversation)
    [said] = plant.sent
    assert said.action == "shelve"
    assert from_iso(said.at) == pytest.approx(plant.clock(), abs=30)
    assert said.until is not None
    assert from_iso(said.until) - from_iso(said.at) == pytest.approx(1800)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"action": "explode"}, "action"),
        ({"reason": None}, "reason"),
        ({"minutes": -1}, "minutes"),
        ({"minutes": 1e9}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": None, "until": "9999-12-31T23:59:59-14:00"}, "needs an end"),
        ({"who": "x" * 1_000}, "who"),
        ({"who": ""}, "who"),
        ({"action": "acknowledge"}, "id of the alarm"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused_with_the_reason(changed: dict[str, object], text: str) -> None:
    async def conversation(client: Any) -> None:
        response = await client.post("/console/api/feedback", json=body(**changed))
        assert response.status == 400
        assert text in (await response.json())["error"]

    assert talk(conversation).sent == []


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b'"text"'])
def test_feedback_that_is_no_json_object_is_refused(raw: bytes) -> None:
    async def conversation(client: Any) -> None:
        headers = {"Content-Type": "application/json"}
        assert (await client.post("/console/api/feedback", data=raw, headers=headers)).status == 400

    assert talk(conversation).sent == []


def test_a_foreign_page_cannot_write() -> None:
    async def conversation(client: Any) -> None:
        url, text = "/console/api/feedback", json.dumps(body())
        own = f"http://{client.host}:{client.port}"
        json_type = {"Content-Type": "application/json"}
        # A form of a foreign page can send these types without asking first.
        for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert (await client.post(url, data=text, headers={"Content-Type": simple})).status == 415
        for origin in ("http://evil.example", "null", f"{own}.evil.example"):
            assert (await client.post(url, data=text, headers={**json_type, "Origin": origin})).status == 403
        cross = {**json_type, "Sec-Fetch-Site": "cross-site"}
        assert (await client.post(url, data=text, headers=cross)).status == 403
        assert (await client.options(url, headers={"Origin": "http://evil.example"})).status == 405
        same = {**json_type, "Origin": own, "Sec-Fetch-Site": "same-origin"}
        assert (await client.post(url, data=text, headers=same)).status == 200

    assert len(talk(conversation).sent) == 1


def test_an_answer_to_an_alarm_that_does_not_exist_is_not_written() -> None:
    plant = ConsolePlant()
    known = plant.history.alarms()[0].alarm

    async def conversation(client: Any) -> None:
        url = "/console/api/feedback"
        for asset, alarm, status in (
            (known.asset, "nope", 404), ("elsewhere", known.id, 404), (known.asset, known.id, 200),
        ):  # fmt: skip
            given = {"action": "acknowledge", "asset": asset, "alarm": alarm, "who": "Kim"}
            assert (await client.post(url, json=given)).status == status

    talk(conversation, plant=plant)
    assert [said.alarm for said in plant.sent] == [known.id]


def test_a_body_in_chunks_is_bounded_too() -> None:
    async def conversation(client: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * 1_000

        headers = {"Content-Type": "application/json"}
        response = await client.post("/console/api/feedback", data=chunks(), headers=headers)
        assert response.status == 413

    talk(conversation)


def test_a_body_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.1)

    async def conversation(client: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(1)

        headers = {"Content-Type": "application/json"}
        response = await client.post("/console/api/feedback", data=chunks(), headers=headers)
        assert response.status == 408

    talk(conversation)


@pytest.mark.slow
def test_a_page_that_never_reads_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STREAMS", 1)
    monkeypatch.setattr(server, "WRITE_SECONDS", 1.5)
    monkeypatch.setattr(server.Console, "_changes", lambda *_: (1, b"x" * 30_000_000))

    async def conversation(client: Any) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /console/api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()
        async with client.get("/console/api/stream") as response:
            assert response.status == 503
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0.3)
                async with client.get("/console/api/stream") as response:
                    if response.status == 200:
                        break
        writer.close()

    talk(conversation)


def test_a_foreign_page_cannot_hold_a_stream_open() -> None:
    async def conversation(client: Any) -> None:
        response = await client.get("/console/api/stream", headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status == 403

    talk(conversation)


def test_a_wrong_token_is_called_wrong_also_where_it_is_no_text() -> None:
    async def conversation(client: Any) -> None:
        for given, said in ((b"", b"a token is needed"), (b"Authorization: Bearer \xff\r\n", b"the token is wrong")):
            reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(b"GET /console/api/stream HTTP/1.1\r\nHost: localhost\r\n" + given + b"\r\n")
            answer = await reader.read(2_000)
            assert b" 401 " in answer.splitlines()[0]
            assert said in answer
            writer.close()

    talk(conversation, Guard("127.0.0.1", "secret"))


@pytest.mark.parametrize("path", ["%ED%A0%80", "%FF", "a%00b"])
def test_an_asset_whose_name_is_no_text_is_not_found(path: str) -> None:
    async def conversation(client: Any) -> None:
        response = await client.get(URL(f"/console/api/assets/{path}", encoded=True))
        assert 400 <= response.status < 500

    talk(conversation)


def test_on_loopback_a_foreign_name_for_this_address_reads_nothing() -> None:
    async def conversation(client: Any) -> None:
        response = await client.get("/console/api/stream", headers={"Host": "rebound.example"})
        assert response.status == 403

    talk(conversation)


def test_beyond_loopback_without_a_token_the_console_is_for_reading_only() -> None:
    async def conversation(client: Any) -> None:
        async with client.get("/console/api/stream") as response:
            [(_, first)] = await events(response, 1)
            assert first["may_write"] is False
        response = await client.post("/console/api/feedback", json=body())
        assert response.status == 403
        assert "STREAM_DETECTOR_CONSOLE_TOKEN_FILE" in (await response.json())["error"]

    assert talk(conversation, Guard("0.0.0.0", None)).sent == []


def test_with_a_token_only_its_holder_reads_and_writes() -> None:
    async def conversation(client: Any) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            for path in ("/console/api/stream", "/console/api/assets/pm-1"):
                response = await client.get(path, headers=headers)
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
            assert (await client.post("/console/api/feedback", json=body(), headers=headers)).status == 401
        # The page itself holds no data and asks for the token.
        assert (await client.get("/")).status == 200
        right = {"Authorization": "Bearer secret"}
        assert (await client.get("/console/api/assets/pm-1", headers=right)).status == 200
        assert (await client.post("/console/api/feedback", json=body(), headers=right)).status == 200

    assert len(talk(conversation, Guard("0.0.0.0", "secret")).sent) == 1


def test_feedback_that_the_broker_did_not_take_is_not_shown_as_given() -> None:
    plant = ConsolePlant()

    async def fail(_feedback: Feedback) -> None:
        raise BrokerError("the broker is away")

    plant.history._send = fail

    async def conversation(client: Any) -> None:
        response = await client.post("/console/api/feedback", json=body())
        assert response.status == 503
        assert "the broker is away" in (await response.json())["error"]

    talk(conversation, plant=plant)
    assert plant.history.assets()[0].shelved_until is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("10.0.0.7", False),
     ("plant.example", False), ("", False)],
)  # fmt: skip
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def behind_proxy(
    network: str = "127.0.0.1", operators: frozenset[str] = frozenset(), token: str | None = None
) -> Guard:
    return Guard("127.0.0.1", token, proxy=Proxy(ipaddress.ip_network(network), "X-Forwarded-User", operators))


def test_behind_a_proxy_that_signs_people_in_answers_are_written_under_their_names() -> None:
    async def conversation(client: Any) -> None:
        url, signed_in = "/console/api/feedback", {"X-Forwarded-User": "kim@plant"}
        assert (await client.post(url, json=body(who="somebody else"), headers=signed_in)).status == 200
        async with client.get("/console/api/stream", headers=signed_in) as response:
            [(_, first)] = await events(response, 1)
            assert (first["user"], first["may_write"]) == ("kim@plant", True)
        for nobody in ({}, {"X-Forwarded-User": " "}, {"X-Forwarded-User": "kim\x1b[31m"}):
            try:
                response = await client.post(url, json=body(), headers=nobody)
            except ValueError:  # the client itself refuses such a header
                continue
            assert response.status in (400, 401)

    assert [said.who for said in talk(conversation, behind_proxy()).sent] == ["kim@plant"]


def test_the_header_of_whoever_is_not_the_proxy_counts_for_nothing() -> None:
    async def conversation(client: Any) -> None:
        signed_in = {"X-Forwarded-User": "kim@plant"}
        assert (await client.post("/console/api/feedback", json=body(), headers=signed_in)).status == 401
        token = {**signed_in, "Authorization": "Bearer secret"}
        assert (await client.post("/console/api/feedback", json=body(who="Lee"), headers=token)).status == 200

    assert [said.who for said in talk(conversation, behind_proxy("10.1.2.0/24", token="secret")).sent] == ["Lee"]


def test_a_name_that_a_browser_has_sent_beside_the_proxys_signs_nobody_in() -> None:
    async def conversation(client: Any) -> None:
        names = [("X-Forwarded-User", "kim"), ("X-Forwarded-User", "lee")]
        response = await client.post("/console/api/feedback", json=body(), headers=names)
        assert (response.status, "2 times" in await response.text()) == (401, True)

    assert not talk(conversation, behind_proxy()).sent


def test_of_those_a_proxy_signs_in_only_operators_answer() -> None:
    async def conversation(client: Any) -> None:
        for name, status in (("lee", 403), ("kim", 200)):
            response = await client.post("/console/api/feedback", json=body(), headers={"X-Forwarded-User": name})
            assert response.status == status
            assert (await client.get("/console/api/plant", headers={"X-Forwarded-User": name})).status == 200

    talk(conversation, behind_proxy(operators=frozenset({"kim"})))


def test_a_page_behind_the_proxy_has_the_proxys_origin_and_another_may_not_write() -> None:
    async def conversation(client: Any) -> None:
        known = {"X-Forwarded-User": "kim", "X-Forwarded-Host": "plant.example"}
        for origin, status in (("https://plant.example", 200), ("https://evil.example", 403)):
            headers = {**known, "Origin": origin}
            assert (await client.post("/console/api/feedback", json=body(), headers=headers)).status == status

    talk(conversation, behind_proxy())


def test_a_viewers_token_reads_and_does_not_write() -> None:
    async def conversation(client: Any) -> None:
        for token, read, write in (("viewer", 200, 403), ("operator", 200, 200), ("other", 401, 401)):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await client.get("/console/api/plant", headers=headers)).status == read
            assert (await client.post("/console/api/feedback", json=body(), headers=headers)).status == write

    talk(conversation, Guard("0.0.0.0", "operator", "viewer"))
