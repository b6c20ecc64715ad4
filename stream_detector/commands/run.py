"""`stream-detector run`: one worker of the group."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_detector.begin_again import begin_again
from stream_detector.errors import BundleError, UsageError
from stream_detector.logs import start_logging
from stream_detector.settings import Settings
from stream_detector.streaming.worker.start_clock import BEGAN_AGAIN, StartClock, process_age_seconds

if TYPE_CHECKING:
    from stream_detector.bundle.bundle import Bundle
    from stream_detector.bundle.bundle_table import AnyBundle
    from stream_detector.streaming.worker.bundle_watch import BundleWatch
    from stream_detector.streaming.worker.worker import Worker

log = logging.getLogger(__name__)

EPILOG = "\n\n".join(
    [
        "Settings, read from the environment (docs/settings.md); options win:",
        *(
            f"{name} ({', '.join(filter(None, [unit, f'default {default}' if default else '']))}): {text}"
            if unit or default
            else f"{name}: {text}"
            for name, default, unit, text in Settings.describe()
        ),
    ]
)

MOST_SECONDS_TO_END = 14.0
"""After SIGTERM; supervisors begin to lose patience at 15."""


def command(
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle, REGISTRY/ID, REGISTRY/ALIAS, or a table (.toml) of several."),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group.")] = None,
    instance: Annotated[str | None, typer.Option(help="Stable name of this worker: quick restarts.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics; 0 = any free one.")] = None,
    publish_scores: Annotated[bool | None, typer.Option("--publish-scores", help="Publish every score.")] = None,
    role: Annotated[
        str | None,
        typer.Option(help="`challenger`: decide beside the champion, in a group of its own; nobody is told."),
    ] = None,
) -> None:
    """Watch the readings on Kafka and raise alarms, until SIGTERM or Ctrl-C.

    Exit codes: 0 ended as asked, 1 the brokers refuse, 2 usage, 70 a fault of ours, 75 stalled: start it again.
    """
    settings = Settings.load(
        bundle=bundle, bootstrap=bootstrap, group=group, instance=instance, metrics_port=metrics_port,
        publish_scores=publish_scores, role=role,
    ).in_role()  # fmt: skip
    if settings.bundle is None:
        raise UsageError("no bundle named; use --bundle DIR or STREAM_DETECTOR_BUNDLE")
    clock = StartClock(process_age_seconds())
    clock.passed("settings")
    start_logging(settings.level(), settings.log_format)
    # What a start imports and builds stays; looking for garbage in it again and again is a tenth of the time.
    gc.disable()
    bundle_in_use = load_bundle_or_table(settings, settings.bundle)
    clock.passed("bundle")
    prepare_scorers(bundle_in_use)
    tell_of(bundle_in_use)
    if settings.sasl_token_callback is None:  # somebody's own function, which may ask by aiohttp
        import_http_server()
    from stream_detector.streaming.worker.composition import build_worker

    clock.passed("modules")
    watch = watch_of(settings, settings.bundle, bundle_in_use.manifest.bundle_id)
    fetch = fetch_of(settings, settings.bundle)
    worker = build_worker(settings, bundle_in_use, clock, bundle_watch=watch, load_bundle=fetch)
    sys.exit(run_until_signalled(worker, settings))


def prepare_scorers(bundle: "AnyBundle") -> None:
    """Let networks try their batches in a thread: they compute without the interpreter, which imports meanwhile."""
    from stream_detector.bundle.bundle_table import bundles_of

    def prepare() -> None:
        for each in bundles_of(bundle):
            each.scorer.prepare()

    # No daemon: a start that fails waits for it. The interpreter cannot end while a network computes.
    threading.Thread(target=prepare, name="scorers").start()


def import_http_server() -> None:
    """Import aiohttp, whose client reads the system's certificates twice at that, a twelfth of a start: it finds none.

    A worker serves by aiohttp and asks nobody by it. In this process aiohttp's client trusts no server.
    """
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    try:
        import aiohttp.web  # noqa: F401 - it stays imported
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


def tell_of(bundle: "AnyBundle") -> None:
    """Say in the log what is odd about the bundle, and who decides for whom where there are several."""
    from stream_detector.bundle.bundle_table import BundleTable, bundles_of

    if isinstance(bundle, BundleTable):
        lines = ", ".join(f"{glob!r} by bundle {bundle_id}" for glob, bundle_id in bundle.assets.lines)
        log.info("%s: %s", bundle.manifest.bundle_id, lines)
    for each in bundles_of(bundle):
        if not each.manifest.raises_alarms:
            log.warning("bundle %s raises no alarm: no threshold was shown to pay (%s)",
                        each.manifest.bundle_id, each.manifest.threshold.how)  # fmt: skip


def watch_of(settings: Settings, path: Path, in_use: str) -> "BundleWatch | None":
    """Watches what the path stands for, where it is an alias of a registry."""
    from stream_detector.bundle.registry import is_alias
    from stream_detector.streaming.worker.bundle_watch import BundleWatch

    if not is_alias(path):
        return None
    log.info("%s stands for bundle %s; when it stands for another one, the worker changes over", path, in_use)

    def check() -> None:
        import asyncio

        from stream_detector.streaming.topics.topics import check_topics
        from stream_detector.streaming.worker.composition import needs_of

        # What a start would refuse must not end a worker that does its work.
        asyncio.run(check_topics(settings, needs_of(load_signed_bundle(settings, path), settings)))

    return BundleWatch(path, in_use, check, time.monotonic, settings.group)


def fetch_of(settings: Settings, path: Path) -> "Callable[[str], Bundle] | None":
    """Fetches bundles by their ids from the registry that the settings name, or that the path leads into."""
    from stream_detector.bundle.registry import Registry
    from stream_detector.bundle.table_file import registry_of_bundle

    folder = settings.registry or registry_of_bundle(path)
    if folder is None:
        return None

    def fetch(bundle_id: str) -> "Bundle":
        registry = Registry(folder)
        place = registry.folder_of(bundle_id)
        if not place.exists():
            raise BundleError(f"{registry} does not hold bundle {bundle_id}; `stream-detector bundles add` it there")
        # What lies under an id has that id, or is refused.
        return load_signed_bundle(settings, place)

    return fetch


def load_bundle_or_table(settings: Settings, path: Path) -> "AnyBundle":
    """The bundle in this folder, or those of the table in this file, as `load_signed_bundle` loads them.

    Raises:
        UsageError: the table cannot be used.
    """
    from stream_detector.bundle.table_file import is_table, load_table

    def load(folder: Path) -> "Bundle":
        return load_signed_bundle(settings, folder)

    return load_table(path, load) if is_table(path) else load(path)


def load_signed_bundle(settings: Settings, folder: Path) -> "Bundle":
    """The bundle in this folder, its signature checked where the settings name a public key.

    Raises:
        BundleError: the bundle is refused.
        UsageError: the key cannot be read, or the bundle is of samples without a time.
    """
    from stream_detector.bundle.bundle import load_stream_bundle

    key_file = settings.bundle_public_key_file
    try:
        public_key = None if key_file is None else key_file.read_bytes()
    except OSError as error:
        raise UsageError(f"public key {key_file} cannot be read: {error.strerror}") from None
    return load_stream_bundle(folder, public_key)


def run_until_signalled(worker: "Worker", settings: Settings) -> int:
    """Run the worker to its end. SIGTERM and SIGINT end it in order, or by force within 15 s whatever hangs.

    Where another bundle is to decide, the process begins again in its own place: its id and its supervisor stay.
    """
    import asyncio

    told_to_end = threading.Event()

    def end(number: int, _: object) -> None:
        told_to_end.set()
        log.info("told to end by %s", signal.Signals(number).name)
        force_exit_after(min(settings.shutdown_seconds + 3, MOST_SECONDS_TO_END), lambda: worker.exit_code)
        worker.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGHUP, lambda *_: worker.reload())
    tame_garbage_collector()
    loop = asyncio.new_event_loop()
    result = loop.run_until_complete(worker.run())
    if worker.begins_again and not told_to_end.is_set():
        os.environ[BEGAN_AGAIN] = repr(time.clock_gettime(time.CLOCK_BOOTTIME))
        begin_again()
    # Faust's thread may still hang on a broker that is away, and would keep the process alive: nothing is left to do.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(result)


def tame_garbage_collector() -> None:
    """Freeze the objects that exist now and make full collections rare: twice the throughput (`make bench`).

    Without a collection before: it takes a tenth of a second of the start and frees a few megabytes.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    gc.enable()


def force_exit_after(seconds: float, code: Callable[[], int]) -> None:
    """End the process after so long whatever hangs: a broker that is away makes an orderly end wait for ever."""

    def end() -> None:
        log.warning("no orderly end within %g s, forced", seconds)
        sys.stderr.flush()
        os._exit(code())

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
