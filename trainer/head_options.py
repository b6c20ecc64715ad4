"""What a recipe's head section says: its options, and the features that it reads."""

from stream_detector.detection.head.calibrated_head import CalibratedOptions, read_options
from stream_detector.detection.head.features import Features
from stream_detector.errors import RecipeError
from trainer.recipe import Recipe


def head_options(recipe: Recipe) -> CalibratedOptions:
    """The recipe's options of this head; RecipeError where they are wrong."""
    assert recipe.head is not None
    try:
        return read_options(recipe.head)
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}") from error


def recipe_features(recipe: Recipe, sensors: tuple[str, ...]) -> Features:
    """The features that the recipe reads from these sensors; RecipeError where a sensor is not there."""
    try:
        return Features(head_options(recipe).features, sensors)
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}") from error
