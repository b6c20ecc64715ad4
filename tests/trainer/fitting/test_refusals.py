"""Windows, transforms and models that do not fit together are refused in a sentence, whatever the data are like."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import KINDS, build
from stream_detector.errors import DataError, RecipeError
from tests.differential.fitted import random_dataset, random_kind, random_sections
from tests.support.properties import examples
from trainer.data.dataset import Dataset
from trainer.fitting.fit import fit_recipe
from trainer.fitting.networks.torch_network import torch_network
from trainer.fitting.weights import demand_values, few_windows
from trainer.recipe import Recipe, recipe_of

Sections = dict[str, Any]


def fit(sections: Sections, dataset: Callable[[Recipe], Dataset]) -> None:
    recipe = recipe_of(sections, "drawn")
    with tempfile.TemporaryDirectory() as folder:
        fit_recipe(recipe, dataset(recipe), Path(folder) / "bundle")


def too_smooth(rng: random.Random, sections: Sections) -> str:
    steps = sections["window"]["steps"]
    sections["transform"] |= {"smooth_steps": steps + rng.randint(1, 9)}
    return f"window.steps = {steps} leaves nothing"


def one_step_of_differences(rng: random.Random, sections: Sections) -> str:
    sections["transform"] = {"kind": "differences", "smooth_steps": sections["window"]["steps"]}
    return "wanted at least"


def longer_lags(kind: str, most: int) -> Callable[[random.Random, Sections], str]:
    def break_it(rng: random.Random, sections: Sections) -> str:
        lags = sections["window"]["steps"] + rng.randint(1, most - 16)
        sections["model"] = {"kind": kind, "options": {"lags": lags}}
        return f"lags = {lags}"

    return break_it


def uneven_sequence(rng: random.Random, sections: Sections) -> str:
    sequence = sections["window"]["steps"] + rng.randint(1, 100)
    sections["model"] = {"kind": "recurrent-autoencoder", "options": {"sequence": sequence}}
    return f"is no multiple of sequence = {sequence}"


def even_kernel(rng: random.Random, sections: Sections) -> str:
    kernel = 2 * rng.randint(2, 15)
    sections["model"] = {"kind": "conv-autoencoder", "options": {"kernel": kernel}}
    return f"kernel = {kernel} must be odd"


def unknown_option(rng: random.Random, sections: Sections) -> str:
    sections["model"]["options"] = {"no_such_option": 1}
    return "'no_such_option'"


BREAKS = [
    too_smooth,
    one_step_of_differences,
    longer_lags("sensor-regressors", 32),
    longer_lags("mahalanobis", 17),
    uneven_sequence,
    even_kernel,
    unknown_option,
]


@settings(max_examples=examples(40))
@given(st.integers(0, 10**6), st.sampled_from(BREAKS))
def test_a_recipe_whose_parts_do_not_fit_together_is_refused_by_the_part_and_its_value(
    seed: int, break_it: Callable[[random.Random, Sections], str]
) -> None:
    rng = random.Random(seed)
    sections = random_sections(rng, random_kind(rng))
    sections["window"] = {"steps": rng.randint(1, 15), "stride": 1}
    sections["transform"] = {"kind": "levels"}
    said = break_it(rng, sections)
    with pytest.raises(RecipeError) as refused:
        fit(sections, lambda recipe: random_dataset(rng, recipe))
    assert said in str(refused.value)


def odd_dataset(rng: random.Random, recipe: Recipe) -> Dataset:
    """Few rows, huge or hardly moving values, sensors without a value, labels of one kind."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    rows, sensors = rng.choice([1, 2, 5, 20, 60]), rng.choice([1, 2, 3, 20])
    times = recipe.grid.step_seconds * (1000 + np.cumsum(numbers.choice([1, 1, 1, 9], size=rows)))
    values = numbers.normal(size=(rows, sensors)) * rng.choice([1.0, 1e-12, 1e150, 1e300])
    values[numbers.random(values.shape) < rng.choice([0.0, 0.05, 0.5, 1.0])] = np.nan
    labels = None if recipe.data.label_column is None else numbers.random(rows) < rng.choice([0.0, 0.1, 0.9, 1.0])
    names = tuple(f"s{sensor}" for sensor in range(sensors))
    return Dataset("odd.csv", "0" * 64, names, times, values, labels, labels_mark_events=rng.random() < 0.7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=examples(60))
@given(st.integers(0, 10**6))
@example(111)  # a classifier, and nothing but anomalies to learn from
@example(586)  # a spread that overflows: what was expected was infinite, and no alarm can say that
@example(710)  # a scale that overflows
@example(894)  # more components than training windows
def test_any_recipe_and_any_data_give_a_bundle_or_a_sentence(seed: int) -> None:
    rng = random.Random(seed)
    sections = random_sections(rng, random_kind(rng))
    try:
        fit(sections, lambda recipe: odd_dataset(rng, recipe))
    except (RecipeError, DataError) as error:
        assert len(str(error)) > 20


def test_more_components_than_training_windows_are_refused() -> None:
    model = build(ModelConfig(kind="projected-lstm-autoencoder", options={"components": 5}), 3, 8)
    assert isinstance(model, Network)
    few = np.zeros((4, 3, 8), np.float32)
    with pytest.raises(ValueError, match="5 components cannot be learnt from 4 training windows"):
        torch_network(model, 0).prepare(few, np.ones(few.shape, np.bool_))


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(("steps", "sensors"), [(0, 3), (-2, 3), (4, 0)])
def test_no_model_is_built_for_windows_without_a_cell(kind: str, steps: int, sensors: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} steps .* of {sensors} sensors; wanted at least one"):
        build(ModelConfig(kind=kind), steps, sensors)


def test_a_network_of_far_more_weights_than_values_stops_the_fit_and_one_of_more_than_windows_is_told() -> None:
    network = build(ModelConfig(kind="lstm-autoencoder", options={"hidden": [32, 4]}), 6, 2)
    (note,) = few_windows(network, 500)
    assert "10,306 weights and learnt from 500 windows" in note
    assert few_windows(network, 10_306) == ()
    assert few_windows(build(ModelConfig(kind="mahalanobis"), 6, 2), 1) == ()
    demand_values(network, 104, 0.01)
    with pytest.raises(DataError, match=r"100 values .* 10,306 weights.*train\.least_values_per_weight below 0\.0097"):
        demand_values(network, 100, 0.01)
