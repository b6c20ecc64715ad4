"""Sends what a person said to its topic."""

from stream_detector.messages import Alarm, Feedback
from stream_detector.operations.record_guard import read_message
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.sending import send_one
from stream_detector.streaming.readers.topic_reader import TopicReader


async def is_known(settings: Settings, asset: str, alarm_id: str) -> bool:
    """Whether the asset had this alarm, by the topic of alarms.

    Raises:
        BrokerError: the topic cannot be read.
    """
    async with TopicReader(settings, [settings.topic_alarms]) as reader:
        async for records in reader.to_end():
            for record in records:
                # Few records name the id at all: only those are read as messages.
                if record.value is None or alarm_id.encode() not in record.value:
                    continue
                try:
                    alarm = read_message(Alarm, record.value)
                except ValueError:
                    continue
                if (alarm.asset, alarm.id) == (asset, alarm_id):
                    return True
    return False


def send_feedback(settings: Settings, feedback: Feedback) -> None:
    """Sends one answer; returns when the broker has acknowledged it.

    Raises:
        BrokerError: no broker took it in time.
    """
    send_one(settings, settings.topic_feedback, feedback.asset, feedback, "the feedback")
