"""Sends what a person said to its topic."""

from stream_detector.errors import BrokerError
from stream_detector.messages import Feedback, to_bytes
from stream_detector.settings import Settings

ACKNOWLEDGE_SECONDS = 15.0


def send_feedback(settings: Settings, feedback: Feedback) -> None:
    """Sends one answer; returns when the broker has acknowledged it.

    Raises:
        BrokerError: no broker took it in time.
    """
    from stream_detector.streaming.clients import librdkafka  # noqa: PLC0415 - a worker seldom needs a second client

    failures: list[str] = []

    def on_delivery(error: object, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = librdkafka.producer(settings)
    producer.produce(settings.topic_feedback, to_bytes(feedback), key=feedback.asset.encode(), on_delivery=on_delivery)
    if producer.flush(ACKNOWLEDGE_SECONDS) or failures:
        reason = failures[0] if failures else f"no answer within {ACKNOWLEDGE_SECONDS:g} s"
        raise BrokerError(
            f"{settings.bootstrap} did not take the feedback for {settings.topic_feedback}: {reason}; "
            "nothing was changed"
        )
