"""The schema registry that the settings name, through the client of confluent-kafka."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from stream_detector.decoding.registry_records import Kind, RegistryRecords, Schema
from stream_detector.errors import RegistryError, UsageError
from stream_detector.extras import need
from stream_detector.settings import Settings

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ANSWER_SECONDS = 5.0
NOT_THERE = 404
PROTOBUF, SERIALIZED = "PROTOBUF", "serialized"
KINDS: dict[str, Kind] = {"AVRO": "AVRO", "JSON": "JSON", "PROTOBUF": "PROTOBUF"}


def subjects_of(settings: Settings) -> list[str]:
    """The names of what is registered.

    Raises:
        RegistryError: the registry does not answer, or refuses.
        UsageError: what talks to it is not installed, or a file of its settings cannot be read.
    """
    return _Client(settings).subjects()


def registrar_of(settings: Settings) -> Callable[[str, str, str], int]:
    """Registers a schema (subject, text, kind), or finds that it is registered; returns its number.

    Raises:
        UsageError: what talks to the registry is not installed, or a file of its settings cannot be read.
    """
    return _Client(settings).register


def registry_of(settings: Settings) -> RegistryRecords | None:
    """Reads records by the schemas of the registry; None where the settings name none.

    Raises:
        UsageError: what talks to it is not installed, or a file of its settings cannot be read.
    """
    if settings.schema_registry_url is None:
        return None
    need("STREAM_DETECTOR_SCHEMA_REGISTRY_URL", "fastavro")
    return RegistryRecords(_Client(settings).schema)


class _Client:
    def __init__(self, settings: Settings) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError as error:
            raise UsageError(
                f"the schema registry needs {error.name}; pip install 'stream-detector[registry]'"
            ) from error
        self._url = settings.schema_registry_url
        options: dict[str, Any] = {"url": self._url, "timeout": ANSWER_SECONDS, "max.retries": 0}
        if settings.schema_registry_ca_file is not None:
            options["ssl.ca.location"] = str(settings.schema_registry_ca_file)
        if settings.schema_registry_username is not None:
            password = settings.schema_registry_secret()
            options["basic.auth.user.info"] = f"{settings.schema_registry_username}:{password}"
        elif settings.schema_registry_token_file is not None:
            settings.schema_registry_token()  # a file that cannot be read is told at the start
            options |= {
                "bearer.auth.credentials.source": "CUSTOM",
                "bearer.auth.custom.provider.config": {},
                # Read anew for each question: tokens are exchanged while a worker runs.
                "bearer.auth.custom.provider.function": lambda _: {
                    "bearer.auth.token": settings.schema_registry_token(),
                    "bearer.auth.logical.cluster": "",
                },
            }
        self._client = SchemaRegistryClient(options)

    def schema(self, number: int) -> Schema | None:
        """The schema of a number with all that it builds on; None where the registry has none.

        Raises:
            RegistryError: it does not answer, or refuses.
        """
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            found = self._client.get_schema(number)
            if found.schema_type == PROTOBUF:
                # The descriptor, where the registry makes one; others give the text as it is.
                self._client.clear_caches()  # type: ignore[no-untyped-call]
                found = self._client.get_schema(number, fmt=SERIALIZED)
            return self._whole(found)
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_THERE:
                log.warning("the schema registry has no schema %d; its records cannot be read", number)
                return None
            raise RegistryError(f"the schema registry {self._url} refuses schema {number}: {error}") from error
        except Exception as error:
            raise RegistryError(f"the schema registry {self._url} does not answer: {error!r}") from error

    def register(self, subject: str, text: str, kind: str) -> int:
        """The number of a schema, registered by now.

        Raises:
            RegistryError: it does not answer, or refuses.
        """
        from confluent_kafka.schema_registry import Schema as NewSchema

        return self._asked(lambda: int(self._client.register_schema(subject, NewSchema(text, kind))), subject)

    def subjects(self) -> list[str]:
        """The names of what is registered; RegistryError as of `register`."""
        return self._asked(lambda: list(self._client.get_subjects()), "its subjects")

    def _asked(self, question: Callable[[], Answer], what: str) -> Answer:
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            return question()
        except SchemaRegistryError as error:
            raise RegistryError(f"the schema registry {self._url} refuses {what}: {error}") from error
        except Exception as error:
            raise RegistryError(f"the schema registry {self._url} does not answer: {error!r}") from error

    def _whole(self, found: Any, name: str = "") -> Schema:
        form = SERIALIZED if found.schema_type == PROTOBUF else None
        references = [
            self._whole(self._client.get_version(each.subject, each.version, fmt=form).schema, each.name)
            for each in found.references or ()
        ]
        deepest_first = [inner for each in references for inner in (*each.references, each)]
        return Schema(KINDS.get(found.schema_type, "AVRO"), found.schema_str, deepest_first, name)
