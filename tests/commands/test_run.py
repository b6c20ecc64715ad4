"""`stream-detector run`: what it refuses, and how it ends."""

import gc
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from stream_detector import logs
from stream_detector.bundle.registry import Registry
from stream_detector.commands import run
from stream_detector.detection.models.fixed_batches import SIZES
from stream_detector.detection.models.networks.network import MOST_STEPS, Network
from stream_detector.errors import BundleError, UsageError
from stream_detector.settings import Settings
from tests.support.paths import ROOT
from tests.support.plant import small_bundle

SETTINGS = Settings(bootstrap="local:1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Signals, loggers and the garbage collector as they were."""
    levels = {name: logging.getLogger(name).level for name in logs.NOISY}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    thresholds = gc.get_threshold()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


class Exited(Exception):  # noqa: N818 - it is none
    """In place of the end of the process."""


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the process would have ended with."""
    codes: list[int] = []

    def exit_with(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", exit_with)
    return codes


class Worker:
    """Sends itself `signals`, and ends with `exit_code`."""

    begins_again = False

    def __init__(self, exit_code: int = 0, signals: tuple[signal.Signals, ...] = ()) -> None:
        self.exit_code = exit_code
        self.stops = self.reloads = 0
        self._signals = signals

    def stop(self) -> None:
        self.stops += 1

    def reload(self) -> None:
        self.reloads += 1

    async def run(self) -> int:
        for number in self._signals:
            signal.raise_signal(number)
        return self.exit_code


def test_a_bundle_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_DETECTOR_BUNDLE", raising=False)
    with pytest.raises(UsageError, match="no bundle named; use --bundle DIR or STREAM_DETECTOR_BUNDLE"):
        run.command()


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        run.command(bundle=tmp_path)


def test_an_address_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no HOST:PORT"):
        run.command(bundle=folder, bootstrap="nonsense")


def test_a_public_key_that_cannot_be_read_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"bundle_public_key_file": tmp_path / "absent.pem"})
    with pytest.raises(UsageError, match=r"public key .*absent.pem cannot be read: No such file"):
        run.load_signed_bundle(settings, folder)


def test_a_bundle_that_the_log_names_and_the_registry_lacks_is_asked_for_there(tmp_path: Path) -> None:
    registry = Registry.create(tmp_path / "registry")
    fetch = run.fetch_of(SETTINGS.model_copy(update={"registry": registry.folder}), tmp_path)
    assert fetch is not None
    with pytest.raises(BundleError, match=r"registry does not hold bundle 3f9a1c2b; `stream-detector bundles add` it"):
        fetch("3f9a1c2b")


def test_a_bundle_that_is_not_signed_is_refused_where_a_key_is_named(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    settings = SETTINGS.model_copy(update={"bundle_public_key_file": key})
    with pytest.raises(BundleError):
        run.load_signed_bundle(settings, folder)


@pytest.mark.parametrize("code", [0, 70, 75])
def test_the_process_ends_with_the_workers_code(exits: list[int], code: int) -> None:
    with pytest.raises(Exited):
        run.run_until_signalled(cast(Any, Worker(code)), SETTINGS)
    assert exits == [code]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_an_orderly_end_and_forces_it_in_time(
    exits: list[int], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    forced: list[float] = []
    monkeypatch.setattr(run, "force_exit_after", lambda seconds, code: forced.append(seconds))
    worker = Worker(signals=(number,))
    with pytest.raises(Exited):
        run.run_until_signalled(cast(Any, worker), SETTINGS)
    assert worker.stops == 1
    assert forced == [SETTINGS.shutdown_seconds + 3]


def test_sighup_reads_the_files_again_and_ends_nothing(exits: list[int]) -> None:
    worker = Worker(signals=(signal.SIGHUP,))
    with pytest.raises(Exited):
        run.run_until_signalled(cast(Any, worker), SETTINGS)
    assert (worker.reloads, worker.stops) == (1, 0)


def test_however_long_an_end_may_take_it_is_forced_before_supervisors_lose_patience(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[float] = []
    monkeypatch.setattr(run, "force_exit_after", lambda seconds, code: forced.append(seconds))
    settings = SETTINGS.model_copy(update={"shutdown_seconds": 14.0})
    with pytest.raises(Exited):
        run.run_until_signalled(cast(Any, Worker(signals=(signal.SIGTERM,))), settings)
    assert forced == [14.0]


def test_a_forced_end_has_the_code_of_that_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended, codes = threading.Event(), list[int]()

    def exit_now(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", exit_now)
    worker = Worker()
    run.force_exit_after(0.05, lambda: worker.exit_code)
    worker.exit_code = 75
    assert ended.wait(5)
    assert codes == [75]
    assert "no orderly end within 0.05 s, forced" in caplog.text


def test_full_collections_become_rare_and_what_is_there_stays() -> None:
    gc.disable()
    run.tame_garbage_collector()
    assert gc.isenabled()
    assert gc.get_threshold() == (200_000, 20, 100)
    assert gc.get_freeze_count() > 0


def test_everyday_steps_of_the_framework_are_not_logged() -> None:
    logs.start_logging("INFO")
    assert logging.getLogger("stream_detector.streaming.worker.transport.consumer_thread").level == logging.WARNING
    assert logging.getLogger("stream_detector.streaming.worker.pipeline").level == logging.NOTSET


def test_a_worker_is_built_and_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    from stream_detector.streaming.worker import composition

    built: list[tuple[str, list[str]]] = []

    def build(settings: Settings, bundle: Any, clock: Any, bundle_watch: object, load_bundle: object) -> Worker:
        assert bundle_watch is None, "a folder's bundle stays the same"
        assert load_bundle is None, "no registry is known"
        built.append((bundle.manifest.recipe, list(clock.stages)))
        return Worker(75)

    monkeypatch.setattr(composition, "build_worker", build)
    with pytest.raises(Exited):
        run.command(bundle=folder, bootstrap="local:1")
    assert built == [("small", ["settings", "bundle", "modules"])]
    assert exits == [75]


def test_networks_try_their_batches_in_a_thread_while_the_rest_is_imported(tmp_path: Path) -> None:
    bundle = run.load_signed_bundle(SETTINGS, small_bundle(tmp_path / "network", kind="dense-autoencoder"))
    network = cast("Network", bundle.scorer._model)
    run.prepare_scorers(bundle)
    for thread in threading.enumerate():
        if thread.name == "scorers":
            thread.join(10.0)
    assert {size for size in SIZES if size * network.steps <= MOST_STEPS} <= network._taken.keys()


def test_a_start_that_fails_meanwhile_waits_for_the_thread() -> None:
    done = in_python(
        "import sys, time",
        "from types import SimpleNamespace",
        "from stream_detector.commands.run import prepare_scorers",
        "def prepare():",
        "    time.sleep(0.3)",
        "    print('prepared')",
        "prepare_scorers(SimpleNamespace(scorer=SimpleNamespace(prepare=prepare)))",
        "sys.exit(0)",
    )
    assert done == ["prepared"]


def test_the_http_server_is_imported_without_the_systems_certificates_and_everybody_else_has_them() -> None:
    done = in_python(
        "import os, ssl, sys",
        "from stream_detector.commands.run import import_http_server",
        "before = dict(os.environ)",
        "import_http_server()",
        "assert os.environ == before",
        "import aiohttp.connector",
        "import stream_detector.streaming.worker.composition",
        "assert aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs() == []",
        "assert aiohttp.connector._SSL_CONTEXT_VERIFIED.verify_mode == ssl.CERT_REQUIRED",
        "print(len(ssl.create_default_context().get_ca_certs()))",
        # Those who ask servers by aiohttp.
        "print([name for name in sys.modules if name.endswith(('notify.receivers', 'feeds.forwarder_process'))])",
    )
    assert done == [str(len(ssl.create_default_context().get_ca_certs())), "[]"]


def test_a_file_of_certificates_that_the_environment_names_stays_named() -> None:
    assert in_python(
        "import os",
        "os.environ['SSL_CERT_FILE'] = '/somewhere/authorities.pem'",
        "from stream_detector.commands.run import import_http_server",
        "import_http_server()",
        "print(os.environ['SSL_CERT_FILE'])",
    ) == ["/somewhere/authorities.pem"]


def in_python(*lines: str) -> list[str]:
    """The lines that a process of its own prints, which has imported nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_log_says_who_decides_for_whom(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "plant.toml"
    table.write_text(f'[[bundles]]\nassets = "*"\nbundle = "{folder}"\n')
    loaded = run.load_bundle_or_table(SETTINGS, table)
    caplog.set_level(logging.INFO)
    run.tell_of(loaded)
    assert f"{loaded.manifest.bundle_id}: '*' by bundle " in caplog.text
