"""`stream-detector topics`: every topic that the product uses, for those who make topics themselves."""

from typing import Annotated

import typer

from stream_detector.choices import choice

FORMATS = ("table", "yaml", "shell", "rights")


def command(
    form: Annotated[
        str,
        choice(
            "--format",
            FORMATS,
            "A table; Strimzi's KafkaTopic resources; a script of kafka-topics.sh; or who must be allowed what.",
        ),
    ] = "table",
    partitions: Annotated[int | None, typer.Option(help="Partitions of each, if not the setting's.")] = None,
    replication: Annotated[int | None, typer.Option(help="Copies of each, if not the setting's.")] = None,
    cluster: Annotated[str, typer.Option(help="Name of Strimzi's Kafka resource, for --format yaml.")] = "kafka",
) -> None:
    """Print the topics with their settings, as the environment names them; no broker is asked."""
    from stream_detector.settings import Settings
    from stream_detector.streaming.topics import formats

    settings = Settings.load(topic_partitions=partitions, topic_replication=replication).in_role()
    printed = {
        "table": formats.as_table,
        "yaml": lambda known: formats.as_yaml(known, cluster),
        "shell": formats.as_shell,
        "rights": formats.as_rights,
    }
    print(printed[form](settings), end="")
