"""How the client of the schema registry gets in, and what it says when it does not."""

import base64
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("fastavro")
pytest.importorskip("httpx2")

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from stream_detector.decoding.registry_records import HEAD
from stream_detector.errors import RegistryError, UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.doctor import examine_registry
from stream_detector.streaming.readers.schema_registry import registry_of
from tests.support.stack.certificates import Authority
from tests.support.stack.schema_registry import READING, avro

SCHEMA = json.dumps({"schema": json.dumps(READING)}).encode()
RECORD = avro(7, READING, {"sensor": "x7", "time": 1777593720000, "value": 1.5})
DESCRIPTOR = FileDescriptorProto(name="a.proto", syntax="proto3")
DESCRIPTOR.message_type.add(name="A").field.add(name="sensor", number=1, type=9, label=1)
AS_TEXT = json.dumps({"schemaType": "PROTOBUF", "schema": "a registry that knows Protobuf tells the text so"}).encode()
AS_DESCRIPTOR = json.dumps(
    {"schemaType": "PROTOBUF", "schema": base64.b64encode(DESCRIPTOR.SerializeToString()).decode()}
).encode()
USER = "Basic " + base64.b64encode(b"reader:s3cret").decode()


class FakeRegistry:
    """Has schema 7 for those who send the header; remembers what was asked."""

    def __init__(self, wanted: str | None, tls: tuple[Path, Path] | None = None) -> None:
        outer = self
        self._scheme = "http" if tls is None else "https"
        self.wanted = wanted
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                granted = wanted is None or self.headers.get("Authorization") == wanted
                there = self.path.startswith("/schemas/ids/7")
                body = SCHEMA if granted and there else b'{"error_code": 40403, "message": "no"}'
                if granted and self.path.startswith("/subjects"):
                    there, body = True, b'["a", "b"]'
                if granted and self.path.startswith("/schemas/ids/9"):
                    there, body = True, AS_DESCRIPTOR if "format=serialized" in self.path else AS_TEXT
                self.send_response(401 if not granted else 200 if there else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(params=[None, USER, "Bearer t0ken"])
def registry(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    running = FakeRegistry(request.param)
    yield running
    running.close()


def settings_for(registry: FakeRegistry, folder: Path, wanted: str | None) -> Settings:
    (folder / "secret").write_text("s3cret\n" if wanted == USER else "t0ken\n")
    more: dict[str, Any] = {}
    if wanted == USER:
        more = {"schema_registry_username": "reader", "schema_registry_password_file": folder / "secret"}
    elif wanted is not None:
        more = {"schema_registry_token_file": folder / "secret"}
    return Settings(schema_registry_url=registry.url, **more)


def test_a_schema_is_fetched_with_what_the_registry_demands(registry: FakeRegistry, tmp_path: Path) -> None:
    records = registry_of(settings_for(registry, tmp_path, registry.wanted))
    assert records is not None
    assert json.loads(records.as_json(RECORD) or b"")["sensor"] == "x7"


def test_a_token_is_read_anew(tmp_path: Path) -> None:
    registry = FakeRegistry("Bearer new")
    records = registry_of(settings_for(registry, tmp_path, "Bearer"))
    assert records is not None
    with pytest.raises(RegistryError, match=r"refuses schema 7: .*401"):
        records.as_json(RECORD)
    (tmp_path / "secret").write_text("new\n")
    assert json.loads(records.as_json(RECORD) or b"")["sensor"] == "x7"
    registry.close()


def test_doctor_says_whether_the_registry_answers(tmp_path: Path) -> None:
    registry = FakeRegistry("Bearer t0ken")
    assert examine_registry(Settings()) == []
    (found,) = examine_registry(settings_for(registry, tmp_path, "Bearer t0ken"))
    assert (found.state, found.text) == ("ok", f"{registry.url} answers (2 subjects)")
    (found,) = examine_registry(Settings(schema_registry_url=registry.url))
    assert found.state == "failed"
    assert "refuses its subjects: " in found.text
    registry.close()


def test_a_protobuf_schema_is_asked_for_as_a_descriptor() -> None:
    registry = FakeRegistry(None)
    records = registry_of(Settings(schema_registry_url=registry.url))
    assert records is not None
    assert json.loads(records.as_json(HEAD.pack(0, 9) + b"\0\x0a\x02x7") or b"") == {"sensor": "x7"}
    registry.close()


def test_a_registry_over_tls_is_believed_with_the_authority_that_the_settings_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    registry = FakeRegistry(None, authority.issue("registry"))
    records = registry_of(Settings(schema_registry_url=registry.url, schema_registry_ca_file=authority.file))
    assert records is not None
    assert json.loads(records.as_json(RECORD) or b"")["sensor"] == "x7"
    stranger = registry_of(Settings(schema_registry_url=registry.url))
    assert stranger is not None
    with pytest.raises(RegistryError, match=r"does not answer: .*CERTIFICATE_VERIFY_FAILED"):
        stranger.as_json(RECORD)
    registry.close()


def test_a_schema_that_is_not_there_leaves_its_records_as_they_are() -> None:
    registry = FakeRegistry(None)
    records = registry_of(Settings(schema_registry_url=registry.url))
    assert records is not None
    unknown = avro(8, READING, {"sensor": "x7", "time": 0, "value": 1.5})
    assert records.as_json(unknown) == records.as_json(unknown) == unknown
    assert len(registry.asked) == 1
    registry.close()


def test_a_registry_that_is_away_is_named_with_its_address() -> None:
    registry = FakeRegistry(None)
    registry.close()
    records = registry_of(Settings(schema_registry_url=registry.url))
    assert records is not None
    with pytest.raises(RegistryError, match=r"the schema registry http://127\.0\.0\.1:\d+ does not answer"):
        records.as_json(RECORD)


def test_without_a_registry_nothing_is_read_by_schemas() -> None:
    assert registry_of(Settings()) is None


def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"SCHEMA_REGISTRY_TOKEN_FILE = .* cannot be read"):
        registry_of(Settings(schema_registry_url="http://127.0.0.1:1", schema_registry_token_file=tmp_path / "none"))
    with pytest.raises(ValueError, match="needs schema_registry_password_file"):
        Settings(schema_registry_url="http://127.0.0.1:1", schema_registry_username="reader")
