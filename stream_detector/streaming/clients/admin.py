"""The admin client, opened in one way."""

from aiokafka.admin import AIOKafkaAdminClient

from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaAdmin
from stream_detector.streaming.clients.security import aiokafka_options

REQUEST_MILLISECONDS = 15_000


async def open_admin(settings: Settings) -> KafkaAdmin:
    """A started admin client; whoever opens it closes it. Of one that cannot be started nothing is left open.

    Raises:
        KafkaError: the brokers cannot be reached.
    """
    admin = AIOKafkaAdminClient(**aiokafka_options(settings), request_timeout_ms=REQUEST_MILLISECONDS)
    try:
        await admin.start()
    except BaseException:
        await admin.close()
        raise
    opened: KafkaAdmin = admin
    return opened
