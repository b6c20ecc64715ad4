"""Imports go one way (docs/architecture.md). Read from the source with `ast`, so a rule holds inside functions too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.paths import ROOT

LAYERS: dict[str, tuple[set[str], ...]] = {
    "stream_detector": (
        {"detection", "errors"},
        {
            "choices",
            "environment",
            "begin_again",
            "exit_codes",
            "extras",
            "logs",
            "messages",
            "metrics",
            "names",
            "process_metrics",
            "settings",
            "time_options",
            "version",
        },
        {"bundle", "decoding", "historian"},
        {"api", "engine"},
        {"operations"},
        {"streaming"},
        {"demo"},
        {"commands"},
        {"__main__"},
    ),
    "stream_detector.detection": (
        {"operating", "ordered_sum", "suppression", "window_rows"},
        {"attribution", "block_bootstrap", "config", "event_cost", "scaling", "slot_arrays"},
        {"episodes", "grid", "models"},
        {"head"},
        {"drift", "fleet", "scoring"},
    ),
    "stream_detector.operations": (
        {"downtime", "http_surface", "record_guard", "signing"},
        {"alarms", "ledger"},
        {"console", "notify", "plant_report"},
    ),
    "stream_detector.streaming": (
        {"clients"},
        {"state", "topics"},
        {"readers"},
        {"feeds", "sources"},
        {"worker"},
        {"audit", "doctor", "local"},
    ),
    "stream_detector.streaming.worker": (
        {"ports", "turns"},
        {"bundle_watch", "password_watch", "transport"},
        {"offsets"},
        {"alarm_sender", "health", "lifecycle", "pipeline", "silences", "start_clock", "switching", "unknown_watch"},
        {"housekeeping"},
        {"worker"},
        {"composition"},
    ),
    "trainer": (
        {"data_options", "head_options", "output", "recipe"},
        {"data"},
        {"evaluation"},
        {"fitting"},
        {"backtesting"},
        {"renewal", "reports"},
        {"commands"},
        {"__main__"},
    ),
}
"""The parts of each package; a part may import those of earlier layers and of its own."""

KAFKA_CLIENTS = {"faust", "mode", "aiokafka", "confluent_kafka"}
NO_BUSINESS_OF_PURE_CODE = {
    "asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "shutil", "socket", "subprocess", "sys",
    "tempfile", "threading", "time",
}  # fmt: skip
ASKERS_BY_AIOHTTP = {"stream_detector.streaming.feeds.forwarder_process", "stream_detector.operations.notify.receivers"}
"""Parts of the forwarder. A worker imports aiohttp in a way that leaves its client without certificates."""
HEAVY = {"torch", "pandas", "plotly", "faust", "sklearn", "scipy", "river", "aiokafka", "confluent_kafka"}


@dataclass(frozen=True)
class Import:
    """`module` imports `name`; `at_import` when it happens as soon as the module is imported."""

    module: str
    name: str
    line: int
    at_import: bool

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


def imports_in(text: str, module: str) -> Iterator[Import]:
    tree = ast.parse(text)
    later: set[int] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or typing_only:
            later.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            # `from stream_detector import bundle_files` imports a part, not the package alone.
            names = [f"{source}.{alias.name}" for alias in node.names] if "." not in source else [source]
        else:
            continue
        for name in names:
            yield Import(module, name, node.lineno, at_import=id(node) not in later)


def imports_of(package: str) -> list[Import]:
    found: list[Import] = []
    for path in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found += imports_in(path.read_text(encoding="utf-8"), module)
    return found


@pytest.fixture(scope="module")
def product() -> list[Import]:
    found = imports_of("stream_detector") + imports_of("trainer")
    assert len(found) > 100
    return found


def layer(package: str, part: str) -> int | None:
    return next((number for number, parts in enumerate(LAYERS[package]) if part in parts), None)


def broken(found: list[Import]) -> list[str]:
    """The imports within a package of LAYERS that go against its layers, and parts that no layer names."""
    wrong = []
    for each in found:
        for package in LAYERS:
            own, other = part_of(package, each.module), part_of(package, each.name)
            if own is None or other is None or own == other or other == "__version__":
                continue
            own_layer, other_layer = layer(package, own), layer(package, other)
            if own_layer is None or other_layer is None:
                wrong.append(f"{each}: name {own if own_layer is None else other} in LAYERS of {package}")
            elif other_layer > own_layer or {own, other} == LAYERS["stream_detector"][0]:
                wrong.append(str(each))
    return wrong


def part_of(package: str, name: str) -> str | None:
    """The first name below `package`; of a name outside it None."""
    return name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else None


def test_parts_import_earlier_layers_only(product: list[Import]) -> None:
    assert broken(product) == []


def test_the_detector_never_imports_the_trainer_or_tests(product: list[Import]) -> None:
    assert [str(i) for i in product if i.module.startswith("stream_detector") and i.top == "trainer"] == []
    assert [str(i) for i in product if i.top in {"tests", "benchmarks"}] == []


def test_only_streaming_imports_kafka_clients(product: list[Import]) -> None:
    outside = [i for i in product if i.top in KAFKA_CLIENTS and not i.module.startswith("stream_detector.streaming")]
    assert [str(i) for i in outside] == []


def test_only_the_forwarder_asks_servers_by_aiohttp(product: list[Import]) -> None:
    by_aiohttp = [i for i in product if i.top == "aiohttp" and not i.name.startswith("aiohttp.web")]
    assert {i.module for i in by_aiohttp} == ASKERS_BY_AIOHTTP


def test_detection_has_no_files_no_clock_and_no_logging(product: list[Import]) -> None:
    pure = [i for i in product if i.module.startswith("stream_detector.detection")]
    assert pure
    assert [str(i) for i in pure if i.top in NO_BUSINESS_OF_PURE_CODE] == []


def test_help_needs_no_heavy_library(product: list[Import]) -> None:
    asked_for_help = (".commands", "__main__", "stream_detector.errors")
    early = [i for i in product if i.at_import and i.top in HEAVY and any(name in i.module for name in asked_for_help)]
    assert [str(i) for i in early] == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from stream_detector.streaming.worker.transport.agent import x", "stream_detector.operations.ledger.ledger"),
        ("def f():\n    from stream_detector import engine", "stream_detector.detection.grid.grid"),
        ("import stream_detector.commands.run", "stream_detector.streaming.worker.transport.agent"),
        ("from stream_detector.errors import DataError", "stream_detector.detection.grid.grid"),
        ("from stream_detector.novelty import x", "stream_detector.commands.run"),
    ],
)
def test_the_check_sees_what_it_should(source: str, module: str) -> None:
    assert len(broken(list(imports_in(source, module)))) == 1
