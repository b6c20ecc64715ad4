"""Recipes: all that come along are valid, and a mistake in one is named."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from stream_detector.detection.head.calibrated_head import CalibratedOptions
from stream_detector.detection.models.registry import KINDS, model_class
from stream_detector.errors import RecipeError
from tests.support.paths import DOCS
from trainer.data.split import split_rows
from trainer.recipe import Recipe, SplitConfig, load_recipe, parse_recipe, recipe_names, recipe_text

SMALL = 'title = "Small"\n[grid]\nstep_seconds = 120\n[window]\nsteps = 4\n'


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_is_valid(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title


def test_the_paper_mill_recipe_is_what_the_mill_asked_for() -> None:
    recipe = load_recipe("paper-mill")
    assert (recipe.costs.tn, recipe.costs.fp, recipe.costs.fn, recipe.costs.tp) == (0, 5, 100, 5)
    assert (recipe.lead.from_steps, recipe.lead.until_steps, recipe.grid.step_seconds) == (1, 2, 120)
    assert recipe.data.labels_mark == "events"
    assert recipe.data.drop_columns == ("x61",)
    assert (recipe.split.by, recipe.threshold.policy, recipe.model.kind) == ("time", "cost-optimal", "lstm-autoencoder")


def test_a_recipe_of_ones_own_is_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "my-plant.toml"
    path.write_text(SMALL)
    assert load_recipe(str(path)).name == "my-plant"
    assert recipe_text(str(path)) == SMALL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL + "steps = 5\n", "is not TOML"),
        (
            SMALL.replace("steps = 4", "steps = 100000000"),
            "window.steps: Input should be less than or equal to 1000000",
        ),
        (SMALL.replace("= 120", "= 1e-300"), "grid.step_seconds: Input should be greater than or equal to"),
        (SMALL + "step = 5\n", "window.step: a recipe has no such key; docs/recipes.md lists all (found 5)"),
        (SMALL.replace("120", "-1"), "grid.step_seconds"),
        (SMALL.replace('title = "Small"', ""), "title: this key is missing"),
        (SMALL + '[threshold]\npolicy = "best"\n', "threshold.policy"),
        (SMALL + '[[suppression.rules]]\nsensor = "x"\n', "suppression.rules.0.sensors: this key is missing"),
        (SMALL + '[operating]\nwhen = "speed >> 3"\n', "operating.when: 'speed >> 3' is not a comparison"),
        (
            SMALL.replace("[window]", 'kind = "table"\n[window]').replace("steps = 4", "steps = 1")
            + '[operating]\nwhen = "speed > 3"\n',
            "says when a machine runs",
        ),
        (SMALL + '[threshold]\npolicy = "fixed"\n', "needs threshold.value"),
        (SMALL + '[threshold]\npolicy = "probability"\n', "needs a [head]"),
        (
            SMALL + '[head]\nkind = "calibrated"\n[threshold]\npolicy = "fixed"\nvalue = 0.3\n',
            '"fixed" must be "probability"',
        ),
        (SMALL + '[head]\nkind = "calibrated"\n', '"cost-optimal" must be "probability"'),
        (SMALL + "[split]\ntrain = 0.9\nvalidation = 0.2\n", "sum to at most 1"),
        (SMALL + "[costs]\nfn = 1\n", "an alarm must cost more than none"),
        (
            SMALL + "[transform]\nsmooth_steps = 5\n",
            "window.steps = 4 leaves nothing to transform.kind = 'levels' with smooth_steps = 5; wanted at least 5",
        ),
        (SMALL.replace("step_seconds = 120", 'kind = "table"\nstep_seconds = 1'), "window.steps must be 1"),
        (SMALL + "[train]\nepochs = inf\n", "train.epochs"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_its_key(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match="recipe mine") as raised:
        parse_recipe(text, "mine")
    assert said in str(raised.value)


def test_an_unknown_recipe_is_answered_with_those_that_exist() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'papermill'; known are .*paper-mill"):
        load_recipe("papermill")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe("absent.toml")


@pytest.mark.parametrize("by", ["time", "random"])
def test_the_parts_of_a_split_are_disjoint_whole_and_the_same_each_time(by: str) -> None:
    split = split_rows(SplitConfig(by=by, train=0.5, validation=0.3), 100, seed=4)
    assert (split.train.astype(int) + split.validation + split.test == 1).all()
    assert (split.train.sum(), split.validation.sum(), split.test.sum()) == (50, 30, 20)
    again = split_rows(SplitConfig(by=by, train=0.5, validation=0.3), 100, seed=4)
    assert (split.test == again.test).all()


def test_a_split_by_time_never_learns_from_what_comes_later() -> None:
    split = split_rows(SplitConfig(by="time"), 50, seed=1)
    assert split.train.nonzero()[0].max() < split.validation.nonzero()[0].min()
    assert split.validation.nonzero()[0].max() < split.test.nonzero()[0].min()


def words_of(annotation: type[Any]) -> Iterator[Any]:
    """Every key of a section and of those inside it, and every word that a key takes."""
    if hasattr(annotation, "model_fields"):
        for name, field in annotation.model_fields.items():
            yield name
            yield from words_of(field.annotation)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from words_of(part)


def said_by(text: str) -> set[str]:
    return set(re.findall(r"[a-z][a-z0-9_]*(?:-[a-z0-9]+)*", text))


def test_the_page_on_recipes_names_every_key_and_every_word_that_a_key_takes() -> None:
    page = (DOCS / "recipes.md").read_text("utf-8")
    tables = " ".join(line for line in page.splitlines() if line.startswith(("| `", "`costs.", "`head.", "## ")))
    words = {word for word in {*words_of(Recipe), *words_of(CalibratedOptions)} if word[0].isalpha()}
    assert words <= said_by(tables)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_on_recipes_names_every_option_of_a_model_in_the_row_of_the_model(kind: str) -> None:
    (row,) = re.findall(rf"^\| `{kind}` \|.*$", (DOCS / "recipes.md").read_text("utf-8"), re.MULTILINE)
    assert set(words_of(model_class(kind).Options)) <= said_by(row)


def test_the_recipe_on_the_page_is_a_whole_one() -> None:
    page = (DOCS / "recipes.md").read_text("utf-8")
    recipe = parse_recipe(page.split("```toml\n")[1].split("```")[0], "pump")
    assert recipe.costs.fn == 80
