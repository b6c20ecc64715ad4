"""`stream-detector bundles list|show|add|verify`: the registry of bundles."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream_detector.bundle.registry import Registry

app = typer.Typer(
    help="The registry of bundles: who fitted what when, from which data, with which verdict; nothing in it changes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RegistryOption = Annotated[
    Path | None,
    typer.Option(help="The registry: a folder, or s3://BUCKET/NAME.", show_default="$STREAM_DETECTOR_REGISTRY"),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        help="Ed25519 public key (PEM): bundles must be signed by it.",
        show_default="$STREAM_DETECTOR_BUNDLE_PUBLIC_KEY_FILE",
    ),
]
JsonOption = Annotated[Path | None, typer.Option(help="Write the result here as JSON; - = standard output.")]


@app.command("list")
def list_bundles(registry: RegistryOption = None, json: JsonOption = None) -> None:
    """Show all bundles, when each was added and by whom, and the aliases that stand for them."""
    found = open_registry(registry)
    names: dict[str, list[str]] = {}
    for alias, change in found.aliases().items():
        names.setdefault(change.bundle, []).append(alias)
    entries: list[dict[str, Any]] = []
    for bundle_id in found.ids():
        added = next((record for record in found.records(bundle_id) if record.what == "added"), None)
        entries.append(
            {
                "bundle": bundle_id,
                "added_at": None if added is None else added.at,
                "who": None if added is None else added.who,
                "data": {} if added is None else added.data,
                "aliases": names.get(bundle_id, []),
            }
        )
    entries.sort(key=lambda entry: (str(entry["added_at"]), str(entry["bundle"])))
    if _written(json, entries):
        return
    for entry in entries:
        aliases = f"  <- {', '.join(entry['aliases'])}" if entry["aliases"] else ""
        print(f"{entry['bundle']}  {entry['added_at'] or 'no record'}  {entry['who'] or ''}{aliases}")
    if not entries:
        print(f"{found} holds no bundle yet")


@app.command("show")
def show(
    bundle: Annotated[str, typer.Argument(help="Id, the beginning of one, or an alias.")],
    registry: RegistryOption = None,
    json: JsonOption = None,
) -> None:
    """Show one bundle: what it is, what it learnt from, and all that was written down about it."""
    from stream_detector.bundle import files
    from stream_detector.bundle.manifest import parse
    from stream_detector.names import printable

    found = open_registry(registry)
    bundle_id = found.resolve(bundle)
    folder = found.folder_of(bundle_id)
    manifest = parse(files.read_file(folder, files.MANIFEST))
    records = found.records(bundle_id)
    aliases = [name for name, change in found.aliases().items() if change.bundle == bundle_id]
    result = {
        "bundle": bundle_id,
        "folder": str(folder),
        "recipe": manifest.recipe,
        "model": manifest.model.kind,
        "assets": manifest.assets,
        "sensors": len(manifest.sensors),
        "threshold": manifest.alarm_threshold,
        "signed": (folder / files.SIGNATURE).is_file(),
        "aliases": aliases,
        "records": [record.model_dump(mode="json") for record in records],
    }
    if _written(json, result):
        return
    for name, value in {**result, "threshold": manifest.limit_in_words}.items():
        if name not in ("records", "aliases"):
            print(f"{name:<10} {printable(str(value))}")
    print(f"{'aliases':<10} {', '.join(aliases) or 'none'}")
    for record in records:
        print(printable(f"{record.at} {record.what} by {record.who}{f': {record.note}' if record.note else ''}"))
        for part, content in (("data", record.data), ("verdict", record.verdict)):
            for key, value in content.items():
                print(printable(f"  {part}.{key} = {value}"))


@app.command("add")
def add(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `trainer fit` wrote.")],
    registry: RegistryOption = None,
    who: Annotated[str | None, typer.Option(help="Who adds it.", show_default="the user's name")] = None,
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
    verdict: Annotated[
        Path | None,
        typer.Option(help="JSON object to keep beside it, e.g. of `trainer fit --json` or `backtest --json`."),
    ] = None,
    public_key: KeyOption = None,
) -> None:
    """Copy a bundle into the registry, which is begun where there is none.

    Adding it again changes nothing, but for mending what was damaged there.
    """
    import time

    from stream_detector.bundle.registration import add_bundle
    from stream_detector.bundle.registry import Registry

    key, found = read_public_key(public_key), Registry.create(_place(registry))
    judged = None if verdict is None else _read_object(verdict)
    added = add_bundle(found, bundle, time.time(), who or user(), verdict=judged, note=note, public_key=key)
    how = "added" if added.new else "was damaged, and is whole again" if added.repaired else "was there already"
    print(f"{found}/{added.manifest.bundle_id}: {how}")


@app.command("verify")
def verify(
    bundle: Annotated[
        str | None, typer.Argument(help="Id, the beginning of one, or an alias.", show_default="all")
    ] = None,
    registry: RegistryOption = None,
    public_key: KeyOption = None,
) -> None:
    """Check bundles as a worker does at its start, and their records; exit 1 where one is damaged or not signed."""
    from stream_detector.bundle.registration import check_registered
    from stream_detector.errors import BundleError

    found, key = open_registry(registry), read_public_key(public_key)
    ids = found.ids() if bundle is None else [found.resolve(bundle)]
    bad = 0
    for bundle_id in ids:
        try:
            check_registered(found, bundle_id, key)
            print(f"{bundle_id}: whole, unchanged{', signed' if key else ''}, and its record is whole")
        except BundleError as error:
            bad += 1
            print(f"{bundle_id}: {error}", file=sys.stderr)
    for name, change in found.aliases().items():
        if change.bundle not in found.ids():
            bad += 1
            print(f"alias {name} stands for {change.bundle}, which is not there", file=sys.stderr)
    sys.exit(1 if bad else 0)


def open_registry(folder: Path | None) -> "Registry":
    """The registry that the option or the settings name; UsageError where there is none."""
    from stream_detector.bundle.registry import Registry

    return Registry(_place(folder))


def read_public_key(path: Path | None) -> bytes | None:
    """The key that the option or the settings name; None where neither does."""
    from stream_detector.errors import UsageError
    from stream_detector.settings import Settings

    path = path or Settings.load().bundle_public_key_file
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise UsageError(f"public key {path} cannot be read: {error.strerror or error}") from None


def user() -> str:
    """The name of whoever runs the command; a container may have no entry for it."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _place(folder: Path | None) -> Path:
    from stream_detector.errors import UsageError
    from stream_detector.settings import Settings

    found = folder or Settings.load().registry
    if found is None:
        raise UsageError("no registry named; use --registry DIR or STREAM_DETECTOR_REGISTRY")
    return found


def _read_object(path: Path) -> dict[str, Any]:
    import orjson

    from stream_detector.errors import UsageError

    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"--verdict {path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--verdict {path}: a JSON object is wanted")
    return content


def _written(json: Path | None, result: Any) -> bool:
    """Write the result as JSON where that was asked for; whether that was to standard output."""
    import orjson

    from stream_detector.errors import UsageError

    if json is None:
        return False
    content = orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if str(json) == "-":
        sys.stdout.buffer.write(content)
        return True
    try:
        json.write_bytes(content)
    except OSError as error:
        raise UsageError(f"--json {json} cannot be written: {error.strerror or error}") from None
    return False
