"""`stream-detector audit`: was every reading accounted for, and are the alarms those that the log gives?"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_detector.errors import BrokerError, StalledError, UsageError
from stream_detector.settings import Settings

FATES = ("windowed", "late", "duplicate", "dead_lettered", "ignored")


def command(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="The bundle or table that the workers run; again for each before.")
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            help="Registry from which other bundles that decided are fetched.", show_default="$STREAM_DETECTOR_REGISTRY"
        ),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group of the workers.")] = None,
    role: Annotated[str | None, typer.Option(help="`challenger`: audit the challenger's group.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Only add up the metrics of a worker at this URL.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
) -> None:
    """Read the topics again and hold what was published against them; exit 1 if anything is lost or invented.

    Workers may run meanwhile. What they have not committed after a minute cannot be judged yet: exit 75.

    A dead letter that the rate limit held back counts as lost here; the worker's metrics say how many those were.
    """
    if metrics is not None:
        good, result = _from_metrics(metrics)
    else:
        settings = Settings.load(bootstrap=bootstrap, group=group, role=role, registry=registry).in_role()
        folders = bundle or ([] if settings.bundle is None else [settings.bundle])
        if not folders:
            raise UsageError("no bundle named; use --bundle DIR, or --metrics URL to add up a worker's metrics")
        good, result = _from_log(settings, folders)
    if json is not None:
        import orjson

        json.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    unsure = bool(result.get("on_the_way"))
    sys.exit(1 if not good else StalledError.exit_code if unsure else 0)


def _from_log(settings: Settings, folders: list[Path]) -> tuple[bool, dict[str, Any]]:
    import asyncio
    from functools import cache, partial

    from stream_detector.bundle.bundle import Bundle, load_bundle, load_stream_bundle
    from stream_detector.bundle.bundle_table import BundleTable, bundles_of
    from stream_detector.bundle.registry import Registry
    from stream_detector.bundle.table_file import is_table, load_table, registry_of_bundle
    from stream_detector.decoding.held_table import HeldTable
    from stream_detector.engine.engine import Engine
    from stream_detector.engine.limits import Limits
    from stream_detector.engine.table_engine import engine_of
    from stream_detector.streaming.audit.audit import audit_log
    from stream_detector.streaming.readers.translation import policies_of
    from stream_detector.streaming.worker.ports import DetectionEngine

    engines: dict[str, Any] = {}
    tables: dict[str, frozenset[str]] = {}
    bundles: dict[str, Bundle] = {}
    for path in folders:
        given = load_table(path, load_stream_bundle) if is_table(path) else load_stream_bundle(path)
        engines[given.manifest.bundle_id] = partial(engine_of, given, unknown=policies_of(settings))
        bundles |= {each.manifest.bundle_id: each for each in bundles_of(given)}
        if isinstance(given, BundleTable):
            tables[given.manifest.bundle_id] = frozenset(each.manifest.bundle_id for each in given.bundles)
    first = next(iter(engines))
    place = settings.registry or registry_of_bundle(folders[0])
    registry = None if place is None else Registry(place)
    ids = set() if registry is None else set(registry.ids())

    # Every partition asks for the same ones.
    @cache
    def loaded(bundle_id: str) -> Bundle:
        assert registry is not None
        return load_bundle(registry.folder_of(bundle_id))

    def fetched(bundle_id: str, limits: Limits) -> Engine:
        return Engine(loaded(bundle_id), limits, unknown=policies_of(settings))

    def changed(held: HeldTable, limits: Limits) -> DetectionEngine | None:
        if not {*held.owners} <= {*ids, *bundles}:
            return None
        named = tuple(bundles.get(owner) or loaded(owner) for owner in held.owners)
        return engine_of(BundleTable(held.table, named), limits, unknown=policies_of(settings), held=held)

    for bundle_id in ids:
        engines.setdefault(bundle_id, partial(fetched, bundle_id))
    audit = asyncio.run(audit_log(settings, engines[first], first, engines, tables=tables, new_table=changed))
    for mine in audit.partitions:
        _print_partition(mine.partition, mine.received, [getattr(mine, fate) for fate in FATES], mine.held)
        print(f"  offsets {mine.begin:,} to {mine.committed or 0:,} committed, the log ends at {mine.end:,}")
    print(
        f"alarms: {audit.alarms:,} published, {len(audit.alarms_lost)} lost, {len(audit.alarms_different)} different, "
        f"{len(audit.alarms_invented)} invented"
    )
    if audit.alarms_rounding:
        print(
            f"rounding: {len(audit.alarms_rounding)} alarms differ in the last digits of computed numbers alone: they "
            "were scored on another processor, or with other versions of libraries, than this audit"
        )
    print(
        f"dead letters: {audit.dead_letters:,} published, {audit.dead_letters_lost} lost, "
        f"{audit.dead_letters_invented} invented"
    )
    if audit.incomplete:
        print(f"retention removed the first records of partitions {audit.incomplete}: alarms there are not compared")
    for span in audit.not_judged:
        print(
            f"partition {span.partition}: offsets {span.begin:,} to {span.end:,} are not judged: bundle {span.bundle} "
            "decided them; name it with another --bundle"
        )
    for late in audit.on_the_way:
        print(
            f"partition {late.partition}: offsets {late.begin:,} to {late.end:,} cannot be judged yet: the group has "
            "not committed them; audit again when its workers have caught up"
        )
    so_far = ", as far as it can be judged yet" if audit.on_the_way else ""
    print(f"accounted for{so_far}" if audit.good else "NOT accounted for")
    return audit.good, audit.as_json()


def _from_metrics(url: str) -> tuple[bool, dict[str, Any]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for name, partition, value in re.findall(
        r'^stream_detector_readings_(\w+?)(?:_total)?\{partition="(\d+)"\} (\S+)$', _fetch(url), re.MULTILINE
    ):
        counts[partition][name] = int(float(value))
    good = True
    for partition, found in sorted(counts.items()):
        fates = [found.get(fate, 0) for fate in FATES]
        good &= found.get("received", 0) == sum(fates)
        _print_partition(int(partition), found.get("received", 0), fates, found.get("held", 0))
    print("accounted for" if good else "NOT accounted for")
    return good, {"partitions": counts, "good": good}


def _fetch(url: str) -> str:
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--metrics {url}: a URL such as http://localhost:9464/metrics is wanted")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the scheme is checked above
            return str(answer.read().decode())
    except OSError as error:
        raise BrokerError(f"no metrics at {url}: {error}") from None


def _print_partition(number: int, received: int, fates: list[int], held: int) -> None:
    sign = "=" if received == sum(fates) else "!="
    parts = " + ".join(f"{count:,} {name.replace('_', '-')}" for count, name in zip(fates, FATES, strict=True))
    print(f"partition {number}: {received:,} received {sign} {parts}; {held:,} held aside")
