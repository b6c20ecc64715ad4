"""Sends one message and waits until the broker has it."""

from stream_detector.errors import BrokerError
from stream_detector.messages import Message, to_bytes
from stream_detector.settings import Settings

ACKNOWLEDGE_SECONDS = 15.0


def send_one(settings: Settings, topic: str, key: str, message: Message, what: str) -> None:
    """Returns when the broker has acknowledged it. `what`: the message, for people.

    Raises:
        BrokerError: no broker took it in time.
    """
    from stream_detector.streaming.clients import librdkafka  # noqa: PLC0415 - a worker seldom needs a second client

    failures: list[str] = []

    def on_delivery(error: object, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = librdkafka.producer(settings)
    producer.produce(topic, to_bytes(message), key=key.encode(), on_delivery=on_delivery)
    if producer.flush(ACKNOWLEDGE_SECONDS) or failures:
        reason = failures[0] if failures else f"no answer within {ACKNOWLEDGE_SECONDS:g} s"
        raise BrokerError(f"{settings.bootstrap} did not take {what} for {topic}: {reason}; send it again")
