"""The registry in an object store does what the one in a folder does, and two who write at once lose nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle import journal, object_store
from stream_detector.bundle.bundle import load_bundle, sign_bundle
from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.bundle.registration import add_bundle, check_registered
from stream_detector.bundle.registry import Registry, is_alias
from stream_detector.errors import BundleError, StoreError, UsageError
from tests.bundle.test_bundle import key_pair
from tests.support.bundles import write_small_bundle
from tests.support.paths import ROOT
from tests.support.stack.object_store import object_store as server_of_objects
from tests.support.stack.object_store import why_no_object_store

AT = 1_780_000_000.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    reason = why_no_object_store()
    if reason is not None:
        pytest.skip(reason)
    with server_of_objects() as environment:
        yield environment


@pytest.fixture
def address(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unique_name: str) -> str:
    """An empty address of the server, in the form in which people write it."""
    for name, value in {**server, "STREAM_DETECTOR_BUNDLE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return f"s3://plant/{unique_name}"


def bundle_of(folder: Path, value: float) -> Path:
    place = folder / f"bundle-{value:g}"
    write_small_bundle(place, threshold=ThresholdRecord(value=value, policy="fixed", how="given"))
    return place


def added(registry: Registry, folder: Path, value: float) -> str:
    return add_bundle(registry, bundle_of(folder, value), AT, "Kim").manifest.bundle_id


def test_the_commands_tell_the_story_of_a_bundle_at_an_address(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--registry", address]
    for value in (1.0, 2.0):
        assert main(["bundles", "add", str(bundle_of(tmp_path, value)), *where, "--who", "Kim"]) == 0
    assert f"{address}/" in capfd.readouterr().out
    assert main(["bundles", "list", *where, "--json", "-"]) == 0
    ids = [entry["bundle"] for entry in json.loads(capfd.readouterr().out)]
    for bundle_id in ids:
        assert main(["promote", bundle_id[:6], *where, "--why", "it saves more"]) == 0
    assert f"{address}/champion stands for {ids[1]}" in capfd.readouterr().out
    assert load_bundle(f"{address}/champion").manifest.bundle_id == ids[1]
    assert main(["rollback", *where, "--why", "too many alarms"]) == 0
    assert load_bundle(f"{address}/champion").manifest.bundle_id == ids[0]
    assert main(["bundles", "show", "champion", *where]) == 0
    assert "added by Kim" in capfd.readouterr().out
    assert main(["bundles", "verify", *where]) == 0
    assert main(["check-bundle", f"{address}/{ids[1][:5]}"]) == 0


def test_what_was_damaged_in_the_store_is_found_although_a_whole_copy_is_here(address: str, tmp_path: Path) -> None:
    registry = Registry.create(Path(address))
    bundle_id = added(registry, tmp_path, 1.0)
    load_bundle(f"{address}/{bundle_id}")
    place = Path(address) / "bundles" / bundle_id / "weights.safetensors"
    content, tag = object_store.read(place) or (b"", "")
    assert object_store.write(place, content[:-1] + b"x", tag)
    assert main(["bundles", "verify", "--registry", address]) == 1
    assert main(["promote", bundle_id, "--registry", address]) == 2
    assert registry.aliases() == {}


def test_what_was_damaged_in_the_store_is_whole_again_once_it_is_added_again(address: str, tmp_path: Path) -> None:
    registry = Registry.create(Path(address))
    bundle_id = added(registry, tmp_path, 1.0)
    place = Path(address) / "bundles" / bundle_id / "weights.safetensors"
    content, tag = object_store.read(place) or (b"", "")
    assert object_store.write(place, content[:-1] + b"x", tag)
    again = add_bundle(registry, bundle_of(tmp_path / "again", 1.0), AT, "Kim")
    assert (again.new, again.repaired) == (False, True)
    assert (object_store.read(place) or (b"", ""))[0] == content
    assert check_registered(registry, bundle_id).bundle_id == bundle_id


def test_a_copy_that_was_damaged_here_is_fetched_anew(address: str, tmp_path: Path) -> None:
    registry = Registry.create(Path(address))
    bundle_id = added(registry, tmp_path, 1.0)
    copy = registry.folder_of(bundle_id) / "weights.safetensors"
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + b"x")
    assert load_bundle(f"{address}/{bundle_id}").manifest.bundle_id == bundle_id
    assert copy.read_bytes() == whole


def test_a_bundle_that_was_killed_on_its_way_is_no_bundle_and_adding_it_again_finishes_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, real = Registry.create(Path(address)), object_store.write

    def killed(path: Path, content: bytes, instead_of: str | None = None) -> bool:
        if path.name == "manifest.json":
            raise KeyboardInterrupt
        return real(path, content, instead_of)

    with monkeypatch.context() as patch:
        patch.setattr(object_store, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            added(registry, tmp_path, 1.0)
    assert registry.ids() == []
    bundle_id = added(registry, tmp_path, 1.0)
    assert check_registered(registry, bundle_id).bundle_id == bundle_id


def test_a_signature_may_come_later_and_an_unsigned_bundle_is_not_taken_where_a_key_is_set(
    address: str, tmp_path: Path
) -> None:
    private, public = key_pair()
    registry, bundle = Registry.create(Path(address)), bundle_of(tmp_path, 1.0)
    with pytest.raises(BundleError, match="not signed"):
        add_bundle(registry, bundle, AT, "Kim", public_key=public)
    assert registry.ids() == []
    bundle_id = add_bundle(registry, bundle, AT, "Kim").manifest.bundle_id
    load_bundle(f"{address}/{bundle_id}")
    sign_bundle(bundle, private)
    add_bundle(registry, bundle, AT, "Kim", public_key=public)
    assert load_bundle(f"{address}/{bundle_id}", public).manifest.bundle_id == bundle_id
    assert [record.what for record in registry.records(bundle_id)] == ["added", "signed"]


def test_writers_of_several_processes_lose_no_line_and_break_no_chain(address: str) -> None:
    code = "import sys; from pathlib import Path; from stream_detector.bundle import journal\n"
    code += "for number in range(15): journal.append(Path(sys.argv[1]), {'number': number, 'who': sys.argv[2]})"
    call = [sys.executable, "-c", code, f"{address}/records/a.jsonl"]
    writers = [subprocess.Popen([*call, who], cwd=ROOT, env=dict(os.environ)) for who in ("Ada", "Kim", "Lou")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = journal.read(Path(f"{address}/records/a.jsonl"))
    assert sorted(line["number"] for line in lines) == sorted(list(range(15)) * 3)


def test_what_cannot_be_used_is_named_in_one_sentence(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["bundles", "list", "--registry", address]) == 2
    assert f"{address} is no registry" in capfd.readouterr().err
    object_store.write(Path(address) / "notes.txt", b"mine")
    with pytest.raises(UsageError, match="holds something else"):
        Registry.create(Path(address))
    with pytest.raises(StoreError, match="NoSuchBucket: The specified bucket does not exist"):
        Registry.create(Path("s3://nothing/registry"))
    with pytest.raises(UsageError, match="bundles are written to folders"):
        write_small_bundle(Path(address) / "bundle")
    with pytest.raises(UsageError, match="names no bucket"):
        Registry(Path("s3://"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert main(["bundles", "list", "--registry", address]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"error: {address}/registry.json does not answer, or refuses: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("kept", "named"), [(None, "If-None-Match"), ("create", "If-Match")])
def test_a_store_that_writes_over_what_is_there_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch, kept: str | None, named: str
) -> None:
    import obstore

    real = obstore.put

    def put(store: object, name: str, content: bytes, mode: object) -> object:
        return real(store, name, content, mode=kept if mode == kept else "overwrite")

    monkeypatch.setattr(obstore, "put", put)
    for _ in ("at first", "and again"):
        with pytest.raises(UsageError, match=rf"knows no conditional writes \({named}\)"):
            Registry.create(Path(address))


def test_a_line_that_was_written_although_the_store_said_otherwise_is_written_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = Path(address) / "aliases" / "champion.jsonl", object_store.write

    def asked_twice(path: Path, content: bytes, instead_of: str | None = None) -> bool:
        # As the client does after an answer of 500.
        return real(path, content, instead_of) and real(path, content, instead_of)

    for number in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(object_store, "write", asked_twice)
            journal.append(path, {"number": number})
    assert [line["number"] for line in journal.read(path)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "http://kim:hidden@127.0.0.1:1", r"http://kim:\.\.\.@127"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps", 'failed to parse "perhaps" as boolean$'),
        ("AWS_ACCESS_KEY_ID", "hidden\n", "AWS_ACCESS_KEY_ID holds a line break"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named_without_credentials(
    address: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((StoreError, UsageError), match=said) as refused:
        object_store.read(Path("s3://another") / "thing")
    assert "hidden" not in str(refused.value)


def test_a_copy_that_is_what_the_store_holds_stays_where_it_is(address: str, tmp_path: Path) -> None:
    registry = Registry.create(Path(address))
    bundle_id = added(registry, tmp_path, 1.0)
    place = registry.folder_of(bundle_id)
    known = place.stat().st_ino
    assert check_registered(registry, bundle_id).bundle_id == bundle_id  # reads the store
    assert place.stat().st_ino == known


def test_a_bundle_that_is_named_by_its_id_is_loaded_from_its_copy_while_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unique_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = Path(f"s3://plant/{unique_name}")
    with server_of_objects() as environment:
        for name, value in {**environment, "STREAM_DETECTOR_BUNDLE_CACHE": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        bundle_id = added(Registry.create(address), tmp_path, 1.0)
        load_bundle(address / bundle_id)
    assert load_bundle(address / bundle_id).manifest.bundle_id == bundle_id
    assert "is whole, and is used" in caplog.text
    assert not is_alias(address / bundle_id)
    kept = object_store.kept(address, bundle_id)
    assert kept is not None
    (kept / "scaler.safetensors").chmod(0o644)
    (kept / "scaler.safetensors").write_bytes(b"damaged")
    with pytest.raises(StoreError):
        load_bundle(address / bundle_id)


def test_a_line_that_the_store_wrote_without_saying_so_is_not_written_again(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, really = Path(address) / "aliases" / "champion.jsonl", object_store.write

    def unheard(*arguments: Any) -> bool:
        really(*arguments)
        raise StoreError("no answer within 20 s")

    journal.append(path, {"bundle": "a"})
    monkeypatch.setattr(object_store, "write", unheard)
    journal.append(path, {"bundle": "b"})
    monkeypatch.setattr(object_store, "write", lambda *_: _no_answer())
    with pytest.raises(StoreError):
        journal.append(path, {"bundle": "c"})
    assert [entry["bundle"] for entry in journal.read(path)] == ["a", "b"]


def _no_answer() -> bool:
    raise StoreError("no answer within 20 s")


def test_what_is_wrong_with_a_record_is_said_of_its_address(address: str) -> None:
    registry = Registry.create(Path(address))
    journal.append(registry.folder / "aliases" / "champion.jsonl", {"nonsense": 1})
    with pytest.raises(BundleError, match=f"^{address}/aliases/champion.jsonl: "):
        registry.changes("champion")
