"""The forwarder as a whole: topics, states, one delivery a receiver, and the ledger's metrics, in one event loop."""

import asyncio
import hashlib
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import stamina
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from stream_detector.errors import BrokerError, StalledError, UsageError
from stream_detector.metrics import ForwarderMetrics, LedgerMetrics
from stream_detector.operations.alarms.alarm_health import AlarmHealth, HealthLimits
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.alarms.state_keeper import StateKeeper
from stream_detector.operations.downtime.calendar_file import CalendarFile
from stream_detector.operations.ledger.gauges import LedgerGauges
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.notify.delivery import Delivery, RetryPolicy, unanswered_seconds, watch
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings, split
from stream_detector.operations.notify.last_time import last_time
from stream_detector.operations.notify.notification import Writer
from stream_detector.operations.notify.receivers import Alertmanager, Receiver, Webhook
from stream_detector.operations.record_guard import RecordGuard
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import in_words_for
from stream_detector.streaming.clients.kafka_types import WaitingProducer
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.feeds.alarm_logs import KafkaAlarmLog, KafkaStateLog
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed, follow_ledger
from stream_detector.streaming.readers.committed_log import CommittedLog, wanted_by_us
from stream_detector.streaming.topics.topics import ensure_history_topics

log = logging.getLogger(__name__)

GROUP = "forward"

LEDGER_RETRY_SECONDS = 30.0

BLIND_SECONDS = 20.0
"""Some looks at the log in a row have gone without an answer."""


class ForwarderProcess:
    """Everything that `stream-detector forward` runs.

    Args:
        settings: brokers and topics.
        forwarding: receivers and texts.
        metrics: of the forwarder.
        registry: the ledger's metrics are registered here too.

    Raises:
        UsageError: the templates, the secret or the calendar cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        forwarding: ForwarderSettings,
        metrics: ForwarderMetrics,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._forwarding = forwarding
        self._metrics = metrics
        self._guard = RecordGuard(lambda topic, reason: metrics.skipped.labels(topic, reason).inc())
        planner = None if settings.calendar_file is None else CalendarFile(settings.calendar_file)
        self._book = AlarmBook(planner=planner)
        zone = ZoneInfo(forwarding.zone)
        names = split(forwarding.ledger_events)
        self._ledger = Ledger(event_names=names or None, planner=planner)
        self._writer = Writer(
            forwarding.language,
            zone,
            forwarding.templates,
            settings.site,
            before=lambda alarm: last_time(self._ledger, alarm),
        )
        self._secret = forwarding.webhook_secret()
        self._gauges = LedgerGauges(self._ledger, LedgerMetrics(registry))
        self._deliveries: list[Delivery] = []

    def why_not_ready(self) -> str | None:
        """The reason why it is not ready; None once every part reads its topics, while the brokers answer."""
        if not self._deliveries:
            return "the topics are not being read yet"
        silent = unanswered_seconds(self._deliveries)
        if silent > BLIND_SECONDS:
            return f"the brokers have not answered for {silent:.0f} s: new alarms cannot be seen"
        return None

    async def run(self) -> None:
        """Runs until cancelled.

        Raises:
            StalledError: no broker answered for `start_seconds`, or the brokers refuse to go on.
            UsageError: no receiver is named.
        """
        try:
            await self._run()
        except KafkaError as error:
            raise _stalled(error) from None
        except asyncio.CancelledError as error:
            if wanted_by_us():
                raise
            raise _stalled(error) from None
        except ExceptionGroup as group:
            # The first fault ended all the others.
            fault = group.exceptions[0]
            raise (_stalled(fault) if isinstance(fault, KafkaError) else fault) from None

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._forwarding.timeout_seconds)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            receivers = self._receivers(session)
            await self._wait_for_topics()
            keeper = await self._keeper(stack)
            deliveries = [await self._delivery(stack, receiver) for receiver in receivers]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_for_ever("the keeper of states", keeper.run()))
                for delivery in deliveries:
                    tasks.create_task(_for_ever(f"the delivery to {delivery.receiver.name}", delivery.run()))
                tasks.create_task(_for_ever("the look at what is pending", watch(deliveries, self._metrics)))
                tasks.create_task(_for_ever("the ledger", self._keep_ledger()))
                self._deliveries = deliveries

    async def _wait_for_topics(self) -> None:
        settings = self._settings
        try:
            async for attempt in stamina.retry_context(
                on=(KafkaError, OSError), attempts=None, timeout=settings.start_seconds, wait_max=5.0
            ):
                with attempt:
                    try:
                        await ensure_history_topics(settings)
                    except (KafkaError, OSError) as error:
                        reason = await in_words_for(settings, error)
                        log.warning("no broker answers at %s: %s; trying again", settings.bootstrap, reason)
                        raise
        except (KafkaError, OSError) as error:
            raise StalledError(
                f"no broker answered for {settings.start_seconds:g} s: {error}; "
                f"is {settings.bootstrap} the right address?"
            ) from None

    async def _keeper(self, stack: AsyncExitStack) -> StateKeeper:
        settings, forwarding = self._settings, self._forwarding
        producer: WaitingProducer = AIOKafkaProducer(**aiokafka_options(settings), acks="all", enable_idempotence=True)
        await producer.start()
        stack.push_async_callback(producer.stop)
        committed = await stack.enter_async_context(self._committed_log("states", with_feedback=True))
        limits = HealthLimits(forwarding.standing_seconds, forwarding.chattering_raises, forwarding.chattering_seconds)
        health = AlarmHealth(self._book, limits)
        state_log = KafkaStateLog(committed, settings, producer, self._guard)
        keeper = StateKeeper(self._book, state_log, health, self._metrics, self._guard)
        await keeper.restore()
        return keeper

    async def _delivery(self, stack: AsyncExitStack, receiver: Receiver) -> Delivery:
        forwarding = self._forwarding
        committed = await stack.enter_async_context(self._committed_log(receiver.name))
        topic = self._settings.topic_alarms
        alarm_log = KafkaAlarmLog(committed, topic, forwarding.forget_after_seconds, self._guard)
        retry = RetryPolicy(longest_seconds=forwarding.longest_retry_seconds)
        return Delivery(
            receiver, alarm_log, self._book, self._writer, self._metrics, retry, forwarding.forget_after_seconds
        )

    def _committed_log(self, part: str, with_feedback: bool = False) -> CommittedLog:
        settings = self._settings
        topics = [settings.topic_alarms, *([settings.topic_feedback] if with_feedback else [])]
        group = f"{settings.group}-{GROUP}-{part}"
        return CommittedLog(settings, topics, group, self._forwarding.first_lookback_seconds)

    def _receivers(self, session: aiohttp.ClientSession) -> list[Receiver]:
        forwarding = self._forwarding
        receivers: list[Receiver] = [
            Alertmanager(session, url, _name("alertmanager", url), forwarding.repeat_seconds, forwarding.console_url)
            for url in split(forwarding.alertmanager_urls)
        ]
        receivers += [
            Webhook(session, url, _name("webhook", url), self._secret) for url in split(forwarding.webhook_urls)
        ]
        if not receivers:
            raise UsageError(
                "no receiver is named; give --alertmanager URL or --webhook URL, or set "
                "STREAM_DETECTOR_FORWARD_ALERTMANAGER_URLS or STREAM_DETECTOR_FORWARD_WEBHOOK_URLS"
            )
        return receivers

    async def _keep_ledger(self) -> None:
        """For ever, whatever happens to it: the ledger's figures must not end what brings alarms to people."""
        feed = LedgerFeed(self._ledger, self._settings, self._guard)
        while True:
            try:
                await follow_ledger(feed, self._gauges, self._forwarding.ledger_days)
            except (BrokerError, KafkaError) as error:
                log.warning("the ledger cannot read its topics, and goes on trying: %s", error)
            except asyncio.CancelledError:
                if wanted_by_us():
                    raise
            except Exception:
                log.exception("the ledger's figures stand still; they are begun again")
            await asyncio.sleep(LEDGER_RETRY_SECONDS)


async def _for_ever(name: str, work: Coroutine[Any, Any, None]) -> None:
    """A part that ends would be missed by nobody: a group of tasks goes on without one that was cancelled.

    Raises:
        StalledError: it ended though nobody asked it to.
    """
    try:
        await work
    except asyncio.CancelledError:
        if wanted_by_us():
            raise
    raise StalledError(f"{name} was broken off by the Kafka client; start the forwarder again")


def _stalled(error: BaseException) -> StalledError:
    return StalledError(f"the brokers refuse to go on: {str(error) or type(error).__name__}; start the forwarder again")


def _name(kind: str, url: str) -> str:
    """A receiver's name in metrics and in the group of its progress; of the path, often a secret, only a hash.

    >>> _name("alertmanager", "http://am:9093/"), _name("webhook", "https://hooks.example/T1/secret")
    ('alertmanager-am-9093', 'webhook-hooks.example-e90a1f')
    """
    parts = urlsplit(url)
    rest = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    digest = hashlib.sha256(rest.encode()).hexdigest()[:6] if rest else ""
    return "-".join(filter(None, [kind, parts.hostname, str(parts.port or ""), digest]))
