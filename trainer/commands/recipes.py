"""`trainer recipes`: what can be fitted."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's TOML, to start one of your own from.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the recipes with all their settings.")] = None,
) -> None:
    """List the recipes that come with the trainer, or print one."""
    from rich.console import Console
    from rich.table import Table

    from trainer.output import write_json
    from trainer.recipe import load_recipe, recipe_names, recipe_text

    if name is not None:
        load_recipe(name)
        typer.echo(recipe_text(name), nl=False)
        return
    found = [load_recipe(known) for known in recipe_names()]
    table = Table("recipe", "what it is", box=None, pad_edge=False)
    for recipe in found:
        table.add_row(recipe.name, recipe.title)
    Console().print(table)
    typer.echo("`trainer recipes NAME` prints one; docs/recipes.md explains every key.")
    if json is not None:
        write_json(json, [recipe.model_dump(mode="json") for recipe in found])
