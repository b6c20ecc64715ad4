"""`stream-detector schemas`: the public messages as JSON Schema."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="One message, e.g. alarm.", show_default="all")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write NAME.schema.json into.", show_default="print them")
    ] = None,
) -> None:
    """Export the JSON Schema of the messages on the topics, for other people's producers and consumers."""
    import orjson

    from stream_detector.errors import UsageError
    from stream_detector.messages import json_schemas

    schemas = json_schemas()
    if name is not None:
        if name not in schemas:
            raise UsageError(f"there is no message {name!r}; known are {', '.join(schemas)}")
        schemas = {name: schemas[name]}
    if out is None:
        shown = schemas if name is None else schemas[name]
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for each, schema in schemas.items():
            (out / f"{each}.schema.json").write_bytes(orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from error
    print(f"{out}: {len(schemas)} schemas")
