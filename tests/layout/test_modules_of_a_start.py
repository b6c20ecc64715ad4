"""What a worker has imported when it is ready: a start is mostly imports, and every module that is added delays it."""

import json
from collections.abc import Sequence
from importlib.metadata import packages_distributions

import pytest

from stream_detector.settings import Settings
from stream_detector.streaming.clients.embedded import EmbeddedBroker
from stream_detector.streaming.topics.topics import worker_topics
from tests.layout.test_base_install import run_in_base
from tests.support.bundles import write_small_bundle

NEEDED = {
    "aiohttp", "aiokafka", "faust", "mode", "msgspec", "numpy", "onnxruntime", "orjson", "prometheus_client",
    "pydantic", "pydantic_settings", "safetensors", "stamina", "typer",
}  # fmt: skip
BROUGHT_BY_THEM = {
    "aiohappyeyeballs", "aiosignal", "annotated_doc", "annotated_types", "async_timeout", "attr", "colorlog",
    "croniter", "dateutil", "dotenv", "frozenlist", "idna", "intervaltree", "multidict",
    "mypy_extensions", "packaging", "propcache", "pydantic_core", "pytz", "shellingham", "six", "sortedcontainers",
    "tenacity", "terminaltables", "typing_extensions", "typing_inspection", "venusian", "yarl",
}  # fmt: skip

MOST_MODULES = 1_170
"""The standard library's included; 1,130 when this was written, of which 239 were ours."""

TELL_AND_END = """
import json, logging, os, signal, sys
from stream_detector.__main__ import main
from stream_detector.streaming.feeds import console_feed

# The embedded broker lets a group wait for others as long as the console waits for the worker.
console_feed.STARTING_SECONDS = 60.0

class Ready(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("ready;"):
            print(json.dumps([name for name, module in sys.modules.items() if module is not None]), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

logging.getLogger("stream_detector.streaming.worker.worker").addHandler(Ready())
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The modules of a worker that is ready, where the base installation alone can be imported."""
    bundle = tmp_path_factory.mktemp("start") / "bundle"
    write_small_bundle(bundle)
    with EmbeddedBroker() as broker, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STREAM_DETECTOR_BOOTSTRAP", broker.bootstrap)
        environment.setenv("STREAM_DETECTOR_METRICS_PORT", "0")
        broker.create_topics(worker_topics(Settings()))
        done = run_in_base(TELL_AND_END, "run", "--bundle", str(bundle))
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_worker_that_is_ready_has_imported_no_package_beyond_those_it_needs(imported: Sequence[str]) -> None:
    packages = {name.split(".")[0] for name in imported} & packages_distributions().keys()
    assert packages - {"stream_detector"} - BROUGHT_BY_THEM == NEEDED


def test_a_worker_that_is_ready_has_not_imported_many_more_modules_than_it_did(imported: Sequence[str]) -> None:
    assert len(imported) <= MOST_MODULES
