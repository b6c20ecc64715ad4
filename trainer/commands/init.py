"""`trainer init`: a file nobody has described becomes a recipe that fits it, and a page that shows it."""

from pathlib import Path
from typing import Annotated

import typer

SHOWN, SHOWN_CHARACTERS = 10, 60


def command(
    data: Annotated[
        list[Path],
        typer.Option(help="A file, a folder, or a name with *: .csv, .csv.gz, .parquet, .xlsx; again for more files."),
    ],
    out: Annotated[Path | None, typer.Option(help="The recipe to write.", show_default="NAME.toml")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write the profile as an HTML page.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe that is there already.")] = False,
) -> None:
    """Profile a file and write a commented recipe for it.

    The recipe says how the file is read, which columns stay out and why, and what a person must decide: labels are
    asked for, never assumed.
    """
    from stream_detector.errors import DataError, UsageError
    from stream_detector.names import printable
    from trainer.data.profile import profile
    from trainer.data.recipe_text import recipe_text
    from trainer.output import write_bytes

    first = data[0]
    place = out or Path(f"{first.name.split('.')[0].replace('*', '') or 'plant'}.toml")
    if place.exists() and not force:
        # People edit a recipe by hand: nothing gives that back.
        raise UsageError(f"{place} is there already; name another file with --out, or write over it with --force")
    found = profile(*data)
    for line in found.history.report.lines():
        typer.echo(f"read: {line}")
    if not found.sensors:
        raise DataError(f"{first}: no column is a sensor that moves; left out: {', '.join(found.left_out) or 'none'}")
    write_bytes(place, recipe_text(found).encode())
    typer.echo(f"{place}: {len(found.sensors)} sensors; columns left out: {len(found.left_out) + len(found.constant)}")
    for name, why in list(found.left_out.items())[:SHOWN]:
        typer.echo(f"left out: {printable(name[:SHOWN_CHARACTERS])!r} {why}")
    if len(found.left_out) > SHOWN:
        typer.echo(f"left out: {len(found.left_out) - SHOWN} more; the recipe says which and why")
    for name, why in found.label_candidates.items():
        typer.echo(f"decide: is {name!r} the label? {why}")
    for question in found.questions:
        typer.echo(f"decide: {question}")
    if report is not None:
        from trainer.reports.profile_page import profile_page

        write_bytes(report, profile_page(found).encode())
        typer.echo(f"profile: {report}")
    if len(data) > 1:
        typer.echo("several files are learnt from together when they lie in one folder, or fit one name with *")
    typer.echo(f"next: trainer fit --recipe {place} --data {first} --out bundle")
