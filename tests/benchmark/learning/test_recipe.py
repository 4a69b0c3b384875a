"""The recipe: every field is identity, defaults are the paper's, invalid settings are refused."""

import re

import pytest
from pydantic import ValidationError
from support.learning_fakes import tiny_recipe
from support.paths import ROOT

from quadrat.benchmark.learning.recipe import Recipe


def test_every_field_changes_the_digest() -> None:
    changes = {
        "encoder": "resnet50", "weights": "packaged", "frozen": True, "decoder_channels": 9, "output_stride": 8,
        "atrous_rates": (1, 2, 4), "dropout": 0.1, "optimizer": "adamw", "lr": 0.02, "momentum": 0.8,
        "weight_decay": 0.1, "poly_power": 1.0, "iterations": 13, "batch_size": 3, "crop": 48, "scale": (0.5, 1.0),
        "crop_placement": "labelled", "flip": False, "loss_stride": 4, "precision": "bf16", "fold_batchnorm": True,
        "inference_precision": "bf16", "compile": "default", "cuda_graphs": False, "pseudo_labels": True,
    }  # fmt: skip
    digests = {tiny_recipe(**{name: value}).digest() for name, value in changes.items()}
    digests |= {tiny_recipe().digest(), tiny_recipe(iterations=None, epochs=2).digest()}
    assert set(changes) | {"epochs"} == set(Recipe.model_fields)
    assert len(digests) == len(changes) + 2


def test_the_readme_names_every_field() -> None:
    readme = (ROOT / "benchmark" / "learning" / "README.md").read_text(encoding="utf-8")
    assert set(Recipe.model_fields) <= set(re.findall(r"`(\w+)`", readme))


def test_digest_survives_a_round_trip_through_json() -> None:
    recipe = tiny_recipe(frozen=True)
    assert Recipe.model_validate_json(recipe.model_dump_json()).digest() == recipe.digest()


def test_defaults_are_those_of_the_paper() -> None:
    recipe = Recipe(iterations=30_000)
    assert (recipe.optimizer, recipe.lr, recipe.poly_power, recipe.batch_size) == ("sgd", 0.01, 0.9, 16)
    assert (recipe.output_stride, recipe.atrous_rates, recipe.crop, recipe.scale) == (16, (6, 12, 18), 513, (0.5, 2.0))


def test_the_poly_schedule_falls_from_lr_towards_0() -> None:
    recipe = Recipe(lr=0.01, iterations=100)
    assert recipe.lr_at(0, 100) == 0.01
    assert recipe.lr_at(50, 100) == pytest.approx(0.01 * 0.5**0.9)
    assert 0 < recipe.lr_at(99, 100) < 0.001


def test_epochs_are_passes_over_the_images_that_have_a_label() -> None:
    recipe = tiny_recipe(iterations=None, epochs=3, batch_size=4)
    assert recipe.num_steps(10) == 8
    assert recipe.num_steps(1) == 1
    assert tiny_recipe(iterations=7).num_steps(10) == 7


def test_a_frozen_recipe_has_defaults_of_its_own() -> None:
    recipe = tiny_recipe(frozen=True)
    assert recipe.scale == (1.0, 1.0) and recipe.loss_stride == 4
    assert tiny_recipe(frozen=True, loss_stride=1).loss_stride == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": None}, "exactly one of iterations and epochs"),
        ({"epochs": 3}, "exactly one of iterations and epochs"),
        ({"scale": (2.0, 0.5)}, "0 < smallest <= largest"),
        ({"scale": (0.5, float("inf"))}, "0 < smallest <= largest"),
        ({"atrous_rates": (0, 6, 12)}, "atrous_rates of 1 or more"),
        ({"frozen": True, "scale": (0.5, 2.0)}, r"expected scale \(1.0, 1.0\) with a frozen encoder"),
        ({"frozen": True, "crop": 100}, "multiple of output_stride=16 with a frozen encoder, got 100: take 96"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": float("nan")}, "lr"),
        ({"output_stride": 32}, "output_stride"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_invalid_settings_are_refused_with_a_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny_recipe(**changes)


def test_fields_about_speed_change_no_identity_at_their_default() -> None:
    before = Recipe(iterations=5)
    assert not {"fold_batchnorm", "inference_precision", "compile"} & set(before.model_dump(mode="json"))
    assert before.digest() == "3703a867bd7c0c6a"  # golden: as without the fields
    folded = Recipe(iterations=5, fold_batchnorm=True)
    assert folded.model_dump(mode="json")["fold_batchnorm"] is True
    assert folded.digest() != before.digest()
    assert Recipe.model_validate(folded.model_dump(mode="json")) == folded
    assert Recipe.model_validate(before.model_dump(mode="json")) == before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_inference_precision_equal_to_precision_is_the_same_recipe(precision: str) -> None:
    one, other = (
        Recipe(iterations=5, precision=precision, inference_precision=precision),
        Recipe(iterations=5, precision=precision),
    )
    assert one == other and one.digest() == other.digest()
    assert one.precision_of_inference == precision
    # No other field is dropped.
    given = tiny_recipe(precision=precision, compile="default", fold_batchnorm=True)
    assert tiny_recipe(**given.model_dump(mode="json") | {"inference_precision": precision}) == given


def test_a_copy_with_other_settings_has_a_digest_of_its_own_and_a_digest_is_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(iterations=10)
    first = recipe.digest()
    copied = recipe.model_copy(update={"iterations": 20})
    assert copied.digest() == Recipe(iterations=20).digest() != first
    assert recipe.digest("a" * 64) != recipe.digest("b" * 64)
    monkeypatch.setattr(Recipe, "settings", lambda self, weights=None: pytest.fail("computed again"))
    assert recipe.digest() == first
