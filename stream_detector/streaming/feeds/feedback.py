"""Sends what a person said to its topic."""

from stream_detector.messages import Feedback
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.sending import send_one


def send_feedback(settings: Settings, feedback: Feedback) -> None:
    """Sends one answer; returns when the broker has acknowledged it.

    Raises:
        BrokerError: no broker took it in time.
    """
    send_one(settings, settings.topic_feedback, feedback.asset, feedback, "the feedback")
