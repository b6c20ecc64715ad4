"""Where notifications go: Alertmanager and any webhook. A receiver does one attempt; the forwarder repeats it."""

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import aiohttp
import orjson

from stream_detector.messages import from_iso, to_iso
from stream_detector.operations.alarms.priority import SEVERITIES
from stream_detector.operations.notify.notification import Notification
from stream_detector.operations.signing import sign

ALERT_NAMES = {"events": "PlantEventExpected", "states": "PlantStateAnomalous"}
"""By what an alarm marks."""
REASON_CHARACTERS = 300

NOT_ABOUT_THE_CONTENT = {401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 429}
"""Of the answers 400 to 499: a wrong address or secret, or a receiver that has no time. No other alarm would be taken
either, and all of them will be once that is mended, so none is given up."""

LONGEST_WAIT_SECONDS = 3_600.0
"""A receiver that asks to be left alone for longer is tried all the same."""


class DeliveryError(Exception):
    """A receiver did not accept a notification, did not answer in time, or cannot be reached: it is tried again.

    `wait_seconds`: not before so long, as the receiver asks; None = it did not say.
    """

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RefusedError(DeliveryError):
    """A receiver says that it cannot use what it was given, and will not when it is given it again."""


class Receiver(Protocol):
    """`name` tells receivers apart in metrics and in the progress that is kept for each."""

    name: str
    repeat_seconds: float | None
    """Seconds after which the receiver must be reminded of alarms that are up; None = never."""

    async def deliver(self, notifications: Sequence[Notification]) -> None:
        """Hands them over, in order.

        Raises:
            RefusedError: at least one of them will never be accepted.
            DeliveryError: not all of them were accepted; all of them will be delivered again.
        """


class Alertmanager:
    """Alertmanager's API, version 2 (`POST /api/v2/alerts`).

    An alert that is up is posted with an end a few repeats ahead, so that it resolves by itself if the forwarder dies
    for good.

    Args:
        session: carries the timeout of an attempt.
        url: of the Alertmanager, without `/api/v2`.
        name: see `Receiver`.
        repeat_seconds: see `Receiver`; Alertmanager's own default to forget an alert is five minutes.
        console_url: where people see more; linked from each alert.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        name: str = "alertmanager",
        repeat_seconds: float = 60.0,
        console_url: str | None = None,
    ) -> None:
        self.name = name
        self.repeat_seconds: float | None = repeat_seconds
        self._session = session
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._stays_up_seconds = 4 * repeat_seconds
        self._console_url = console_url

    async def deliver(self, notifications: Sequence[Notification]) -> None:
        now = time.time()
        alerts = []
        for notification in notifications:
            alert = to_alert(notification, now)
            if notification.ended_at is None:
                alert["endsAt"] = to_iso(now + self._stays_up_seconds)
            if self._console_url:
                alert["generatorURL"] = self._console_url
            alerts.append(alert)
        await _post(self._session, self._url, orjson.dumps(alerts), {})


class Webhook:
    """Any address that takes a POST of JSON: one alert in Alertmanager's words, and the alarm itself under `alarm`.

    Args:
        session: carries the timeout of an attempt.
        url: where to post.
        name: see `Receiver`.
        secret: signs each request (see `signing`); None = not signed.
    """

    repeat_seconds: float | None = None

    def __init__(
        self, session: aiohttp.ClientSession, url: str, name: str = "webhook", secret: bytes | None = None
    ) -> None:
        self.name = name
        self._session = session
        self._url = url
        self._secret = secret

    async def deliver(self, notifications: Sequence[Notification]) -> None:
        for notification in notifications:
            now = time.time()
            body = orjson.dumps(
                {
                    "version": 1,
                    "key": notification.key,
                    "status": "firing" if notification.ended_at is None else "resolved",
                    **to_alert(notification, now),
                    "alarm": notification.alarm.model_dump(mode="json"),
                }
            )
            headers = {"Idempotency-Key": notification.key}
            if self._secret is not None:
                headers |= sign(self._secret, body, now)
            await _post(self._session, self._url, body, headers)


def to_alert(notification: Notification, now: float) -> dict[str, Any]:
    """One alert in the form of Alertmanager's API; without `endsAt` while the alarm is up.

    The labels are the alert's identity, so they hold only what stays the same while the alarm is up.
    """
    alarm = notification.alarm
    alert: dict[str, Any] = {
        "labels": {
            "alertname": ALERT_NAMES[notification.alarm.marks],
            "asset": alarm.asset,
            "severity": SEVERITIES[notification.priority],
            "bundle": alarm.bundle,
            "recipe": alarm.recipe,
            **({"site": notification.site} if notification.site else {}),
        },
        "annotations": {**notification.texts, "alarm_id": alarm.id, "priority": notification.priority},
        # The plant's clock may be ahead of ours: an end in the future would leave the alert up, and a start after the
        # end is refused.
        "startsAt": to_iso(min(from_iso(alarm.raised_at), now)),
    }
    if notification.ended_at is not None:
        alert["endsAt"] = to_iso(min(notification.ended_at, now))
    return alert


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait from the header of that name (RFC 9110, 10.2.3), an hour at most; None where it says nothing.

    >>> retry_after("120", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0.0), retry_after("soon", 0.0)
    (120.0, 60.0, None)
    """
    if text is None:
        return None
    try:
        seconds = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_WAIT_SECONDS)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        headers = {"Content-Type": "application/json", **headers}
        # A redirect would turn the POST into a GET that is answered with 200.
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status // 100 != 2:
                reason = (await answer.content.read(REASON_CHARACTERS)).decode(errors="replace")
                found = f"answered {answer.status}: {reason}"
                if 400 <= answer.status < 500 and answer.status not in NOT_ABOUT_THE_CONTENT:
                    raise RefusedError(found)
                raise DeliveryError(found, retry_after(answer.headers.get("Retry-After"), time.time()))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # The address is left out: the path of a webhook is often its secret.
        raise DeliveryError(str(error) or type(error).__name__) from None
