"""A real schema registry (Apicurio, in memory) as a process, and records in its wire format."""

import io
import json
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_writer

from stream_detector.decoding.registry_records import HEAD
from tests.support.stack import maven
from tests.support.stack.kafka import free_port, why_no_kafka
from tests.support.stack.monitoring import status_of
from tests.support.stack.processes import end_with_parent
from tests.support.stack.workers import wait_for

START_SECONDS = 90.0

READING = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "value", "type": ["null", "double"]},
    ],
}


def why_no_registry() -> str | None:
    """The reason why no registry can be started here, or None."""
    return why_no_kafka() or maven.why_no_jars(maven.REGISTRY)


class SchemaRegistry:
    """A registry on a port of its own; a suspended one answers nobody."""

    def __init__(self, folder: Path) -> None:
        (archive,) = maven.resolved(maven.REGISTRY).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        (self._jar,) = folder.glob("*-runner.jar")
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> "SchemaRegistry":
        command = ["java", f"-Dquarkus.http.port={self._port}", "-Dquarkus.http.host=127.0.0.1", "-Xmx256m"]
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-jar", str(self._jar)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls nothing but the kernel
            )
        try:
            wait_for(lambda: status_of(f"{self.url}/subjects", 2) == 200, START_SECONDS, "the registry answers")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def suspend(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def register(
        self, subject: str, schema: dict[str, Any] | str, kind: str = "AVRO", references: Sequence[dict[str, Any]] = ()
    ) -> int:
        """The number of a schema. `references`: name, subject and version of those that it imports."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = json.dumps({"schema": text, "schemaType": kind, "references": references}).encode()
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(json.load(answer)["id"])


def avro(number: int, schema: dict[str, Any], record: Any) -> bytes:
    """A record in the registry's wire format."""
    body = io.BytesIO()
    body.write(HEAD.pack(0, number))
    schemaless_writer(body, parse_schema(schema), record)
    return body.getvalue()
