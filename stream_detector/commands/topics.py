"""`stream-detector topics`: every topic that the product uses, for those who make topics themselves."""

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How they are printed."""

    TABLE = "table"
    YAML = "yaml"
    SHELL = "shell"
    RIGHTS = "rights"


def command(
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="A table; Strimzi's KafkaTopic resources; a script of kafka-topics.sh; or who must be allowed what.",
        ),
    ] = Format.TABLE,
    partitions: Annotated[int | None, typer.Option(help="Partitions of each, if not the setting's.")] = None,
    replication: Annotated[int | None, typer.Option(help="Copies of each, if not the setting's.")] = None,
    cluster: Annotated[str, typer.Option(help="Name of Strimzi's Kafka resource, for --format yaml.")] = "kafka",
) -> None:
    """Print the topics with their settings, as the environment names them; no broker is asked."""
    from stream_detector.settings import Settings
    from stream_detector.streaming.topics import formats

    settings = Settings.load(topic_partitions=partitions, topic_replication=replication).in_role()
    printed = {
        Format.TABLE: formats.as_table,
        Format.YAML: lambda known: formats.as_yaml(known, cluster),
        Format.SHELL: formats.as_shell,
        Format.RIGHTS: formats.as_rights,
    }
    print(printed[form](settings), end="")
