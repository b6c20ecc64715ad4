"""`stream-detector run`: one worker of the group."""

import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_detector.engine.limits import Limits
from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.worker.start_clock import StartClock, process_age_seconds

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

NOISY = {
    # The framework logs its everyday steps, under the names of our subclasses too.
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "stream_detector.streaming.worker.transport": logging.WARNING,
    "stream_detector.streaming.worker.agent": logging.WARNING,
    # Hundreds of lines a second while a broker is away; the watchdog says it once, and what matters is raised.
    "aiokafka": logging.CRITICAL,
}


def command(
    bundle: Annotated[Path | None, typer.Option(help="folder of the bundle, as `trainer fit` wrote it")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="HOST:PORT of Kafka brokers, separated by commas")] = None,
    group: Annotated[str | None, typer.Option(help="consumer group")] = None,
    instance: Annotated[str | None, typer.Option(help="stable name of this worker: quick restarts")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="port of /metrics, 0 = any free one")] = None,
    publish_scores: Annotated[bool | None, typer.Option("--publish-scores", help="publish every score")] = None,
) -> None:
    """Watch the readings on Kafka and raise alarms, until SIGTERM or Ctrl-C.

    Exit codes: 0 ended as asked, 2 usage, 70 a fault of ours, 75 stalled: start it again.
    """
    settings = Settings.load(
        bundle=bundle, bootstrap=bootstrap, group=group, instance=instance, metrics_port=metrics_port,
        publish_scores=publish_scores,
    )  # fmt: skip
    if settings.bundle is None:
        raise UsageError("no bundle named; use --bundle DIR or STREAM_DETECTOR_BUNDLE")
    clock = StartClock(process_age_seconds())
    clock.passed("settings")
    start_logging(settings)
    # What a start imports and builds stays; looking for garbage in it again and again is a tenth of the time.
    gc.disable()
    worker = build_worker(settings, settings.bundle, clock)
    sys.exit(run_until_signalled(worker, settings))


def start_logging(settings: Settings) -> None:
    """To standard error, one line a message; no message of ours holds a secret."""
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    if settings.log_level != "DEBUG":
        for name, level in NOISY.items():
            logging.getLogger(name).setLevel(level)


def build_worker(settings: Settings, bundle_folder: Path, clock: StartClock) -> Any:
    """Load the bundle, build engine and worker.

    Raises:
        BundleError: the bundle is refused.
        UsageError: a file that the settings name cannot be read, or the bundle is of samples without a time.
    """
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.bundle.manifest import require_stream
    from stream_detector.engine.engine import Engine

    key_file = settings.bundle_public_key_file
    try:
        public_key = None if key_file is None else key_file.read_bytes()
    except OSError as error:
        raise UsageError(f"public key {key_file} cannot be read: {error.strerror}") from None
    bundle = load_bundle(bundle_folder, public_key)
    require_stream(bundle.manifest)
    # Only some kinds of model need torch, and importing it is most of a start.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(settings.torch_threads)
    manifest = bundle.manifest
    engine = Engine(bundle, limits_of(settings), keep_steps=settings.console)
    clock.passed("bundle")

    from stream_detector.streaming.worker.worker import Worker

    clock.passed("modules")
    worker = Worker(settings, engine, manifest.bundle_id, rewind_seconds(manifest), clock=clock)
    worker.describe_bundle(manifest)
    return worker


def limits_of(settings: Settings) -> Limits:
    """The engine's bounds; they decide what is evicted, so all workers of a group need the same."""
    return Limits(
        max_assets=settings.max_assets,
        evict_after_seconds=settings.evict_after_seconds,
        evict_after_records=settings.evict_after_records,
    )


def rewind_seconds(manifest: Any) -> float:
    """How far back windows and an open episode reach, with room to spare; used where a commit does not say."""
    steps = (
        manifest.window.steps + manifest.episode.max_steps + manifest.grid.staleness_steps + manifest.grid.max_gap_steps
    )
    return float(2 * (steps * manifest.grid.step_seconds + manifest.grid.lateness_seconds))


def run_until_signalled(worker: Any, settings: Settings) -> int:
    """Run the worker to its end. SIGTERM and SIGINT end it in order, or by force within 15 s whatever hangs."""
    import asyncio

    from stream_detector.streaming.worker.worker import exit_code_of, force_exit_after, tame_garbage_collector

    def code() -> int:
        return 0 if worker.error is None else exit_code_of(worker.error)

    def end(*_: object) -> None:
        force_exit_after(min(settings.shutdown_seconds + 3, MOST_SECONDS_TO_END), code)
        worker.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    tame_garbage_collector()
    loop = asyncio.new_event_loop()
    result = loop.run_until_complete(worker.run())
    # Faust's thread may still hang on a broker that is away, and would keep the process alive: nothing is left to do.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(result)
