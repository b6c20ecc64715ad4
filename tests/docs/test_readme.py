"""What README and tour tell a reader to type exists: commands, options, make targets, recipes, links."""

import re
import shlex
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

import stream_detector.__main__ as detector
import trainer.__main__ as trainer
from tests.support.paths import ROOT
from trainer.recipe import recipe_names

PAGES = ("README.md", "docs/tour.md")


def code_of(page: str) -> list[str]:
    """Lines of indented blocks and the text between backticks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if re.match(r" {4,}\S", line)]
    return lines + re.findall(r"`([^`\n]+)`", text)


def commands_in(page: str) -> list[list[str]]:
    found = []
    for code in code_of(page):
        for part in code.split("&&"):
            words = part.split("#")[0].split(">")[0].replace(".venv/bin/", "")
            try:
                split = shlex.split(words)
            except ValueError:
                continue  # the quotes of a message, no command
            if len(split) > 1 and split[0] in ("stream-detector", "trainer"):
                found.append(split)
    return found


def groups() -> dict[str, Any]:
    return {
        "stream-detector": typer.main.get_command(detector.app),
        "trainer": typer.main.get_command(trainer.build_app()),
    }


def options_of(program: str, words: list[str]) -> set[str]:
    """Of the command that these words begin with, such as `promote` or `bundles list`; of all, where they name none."""
    command, path = groups()[program], program
    for word in words:
        if not hasattr(command, "get_command") or word.startswith("-"):
            break
        context, path = command.make_context(path, [], resilient_parsing=True), f"{path} {word}"
        command = command.get_command(context, word)
        assert command is not None, f"there is no command {path}"
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


def command_pages() -> list[str]:
    pages = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if commands_in(page)]


@pytest.mark.parametrize("page", command_pages())
def test_every_command_and_option_exists(page: str) -> None:
    for program, *words in commands_in(page):
        known = options_of(program, words)
        unknown = [word for word in words if word.startswith("--") and word not in known]
        assert not unknown, f"{page}: {program} {' '.join(words)}: there is no {unknown}"


def test_the_pages_with_commands_are_found() -> None:
    assert {*PAGES, "docs/runbook.md", "docs/renewal.md"} <= set(command_pages())
    assert all(len(commands_in(page)) > 5 for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match for code in code_of(page) for match in re.findall(r"^make ([a-z-]+)", code)}
    assert named
    assert named <= targets


def test_every_recipe_of_the_table_exists_and_every_recipe_has_a_plant() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("## Which recipe")[1].split("## More")[0]
    named = set(re.findall(r"`([a-z][a-z-]+)`", table)) - {"trainer"}
    assert named <= set(recipe_names())
    families = {name.split("-")[0] for name in named}
    assert {name.split("-")[0] for name in recipe_names()} == families


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("program", ["stream-detector", "trainer"])
def test_every_command_explains_itself(program: str) -> None:
    app = detector.app if program == "stream-detector" else trainer.build_app()
    group = groups()[program]
    names = group.list_commands(group.make_context(program, [], resilient_parsing=True))
    assert len(names) > 5
    for name in names:
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0, name
        assert "Usage:" in result.output


@pytest.mark.parametrize("program", ["stream-detector", "trainer"])
def test_every_option_is_explained_in_a_sentence_that_the_help_shows_whole(program: str) -> None:
    group = groups()[program]
    context = group.make_context(program, [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            text = getattr(parameter, "help", None) or "no help"
            sentence = text[0].upper() + text[1:].rstrip(".") + "."
            assert text == sentence, f"{name} {parameter.name}"
            assert Text.from_markup(text).plain == text, f"{name} {parameter.name}: markup swallows a part of {text!r}"
