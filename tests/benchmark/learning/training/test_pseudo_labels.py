"""Pseudo labels: against a pixel-by-pixel transcription of the definition, and in fits that train twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.learning_fakes import Killed, annotation, kill_at, label, make_grid, make_learner, make_set, tiny_recipe

from quadrat.benchmark.config.sharing import round_steps
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning import Learner, Recipe
from quadrat.benchmark.learning.scoring.predict import Prediction
from quadrat.benchmark.learning.training.pseudo_labels import disambiguate, label_image
from quadrat.benchmark.trial.oracle import RevealedLabels

POOL, POOL_MASKS = make_set(seed=0)
TEST, _ = make_set(seed=1)
GRID = make_grid(POOL_MASKS)
REGIONS = np.sort(np.random.default_rng(0).choice(GRID.num_regions, 20, replace=False))


def sets_of(regions: NDArray[np.int64] = REGIONS) -> RevealedLabels:
    return label(POOL_MASKS, GRID, regions, annotation(POOL_MASKS, GRID, "multi-class"))


def transcribed(
    features: NDArray[np.float32],
    prob: NDArray[np.float32],
    region_of: NDArray[np.int64],
    classes_of: dict[int, list[int]],
) -> NDArray[np.uint8]:
    """The definition, one pixel after the other."""
    height, width = region_of.shape

    def cosine(one: tuple[int, int], other: tuple[int, int]) -> float:
        a, b = (features[:, y // 4, x // 4].astype(np.float64) for y, x in (one, other))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    pixels = [(y, x) for y in range(height) for x in range(width)]
    found, own = np.full((height, width), 255, np.uint8), np.full((height, width), 255, np.uint8)
    for region in sorted(classes_of):
        inside = [pixel for pixel in pixels if region_of[pixel] == region]
        prototypes = {c: max(inside, key=lambda pixel: prob[c][pixel]) for c in classes_of[region]}
        groups: dict[int, list[float]] = {c: [] for c in classes_of[region]}
        for pixel in inside:
            nearest = max(prototypes, key=lambda c: cosine(pixel, prototypes[c]))
            own[pixel] = nearest
            groups[nearest].append(cosine(pixel, prototypes[nearest]))
        threshold = {c: sorted(group)[(len(group) - 1) // 2] if group else 1.0 for c, group in groups.items()}
        touching = {
            int(region_of[y + dy, x + dx])
            for y, x in inside
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if 0 <= y + dy < height and 0 <= x + dx < width
        }
        for pixel in pixels:
            if region_of[pixel] in touching - {region, -1}:
                similarity = {c: cosine(pixel, prototypes[c]) for c in prototypes}
                if any(similarity[c] > threshold[c] + 1e-6 for c in prototypes):
                    found[pixel] = max(similarity, key=lambda c: similarity[c])
    return np.where(own != 255, own, found)


class Stripes(RegionGrid):
    """A grid of which one region has no pixels any more, and another is L-shaped."""

    def window(self, image: int, top: int, left: int, height: int, width: int) -> NDArray[np.int64]:
        region = super().window(image, top, left, height, width)
        region[2:5, 2:5] = -1
        region[8:10, 6:9] = region[9, 2]
        return region

    def box(self, region: int):  # type: ignore[no-untyped-def]
        box = super().box(region)
        return box._replace(right=min(box.right + 2, 20))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [RegionGrid, Stripes])
def test_labels_are_those_of_the_definition(seed: int, kind: type[RegionGrid]) -> None:
    generator = np.random.default_rng(seed)
    height, width, num_classes = 18, 20, 4
    layout = kind(np.array([[height, width]], np.int32), 7)
    features = generator.standard_normal((3, 6, 6), np.float32)  # a cell more than the image on either side
    prob = generator.dirichlet(np.ones(num_classes), (height, width)).transpose(2, 0, 1).astype(np.float32)
    known = generator.choice(layout.num_regions, 4, replace=False).tolist()
    classes_of = {
        region: np.flatnonzero(generator.permutation(num_classes) < 1 + region % 3).tolist() for region in known
    }
    sets_KC = np.zeros((256, num_classes), bool)
    region_HW = layout.window(0, 0, 0, height, width)
    set_HW = np.full((height, width), 255, np.int32)
    for row, region in enumerate(known):
        sets_KC[row, classes_of[region]] = True
        set_HW[region_HW == region] = row
    found = label_image(features, prob, layout, 0, set_HW, sets_KC)
    np.testing.assert_array_equal(found, transcribed(features, prob, region_HW, classes_of))
    assert (found[set_HW == 255] != 255).any()  # labels have spread


def test_a_pixel_of_a_region_has_a_class_of_its_set_and_only_images_with_labels_have_any(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = sets_of(REGIONS[:5])
    assert labels.sets_KC is not None

    def predict(indices: list[int]) -> Prediction:
        height, width = (int(-(-side // 16) * 4) for side in POOL.sizes[indices[0]])
        features, logits = (torch.randn(1, d, height, width, generator=generator) for d in (8, labels.num_classes))
        return Prediction(features, logits)

    pseudo = disambiguate(predict, labels, tmp_path)
    images = np.unique(GRID.image[REGIONS[:5]])
    for image, (height, width) in enumerate(POOL.sizes.tolist()):
        found, given = (one.crop(image, -3, -2, height + 8, width + 9) for one in (pseudo, labels))
        assert (found != 255).any() == (image in images)
        assert (found[:3] == 255).all() and (found[:, width + 2 :] == 255).all()
        is_named = labels.sets_KC[given].any(axis=-1)
        assert labels.sets_KC[given[is_named], found[is_named]].all()
        inner = pseudo.crop(image, 2, 4, 10, 11)
        np.testing.assert_array_equal(inner, found[5:15, 6:17])
    assert list(tmp_path.iterdir()) == []  # the file has no name
    assert pseudo.key == {**labels.key, "pseudo": True} and pseudo.sets_KC is None


def learner(recipe: Recipe, cache_dir: Path, **changes: object) -> Learner:
    return make_learner(recipe, cache_dir, train=POOL, test=TEST, **changes)


both = pytest.mark.parametrize("frozen", [False, True])


@both
def test_the_second_network_is_trained_on_the_labels_of_the_first(tmp_path: Path, frozen: bool) -> None:
    recipe = tiny_recipe(iterations=3, frozen=frozen)
    first = learner(recipe, tmp_path)
    fitted = first.fit(sets_of(), seed=1, round=2)
    pseudo = disambiguate(first._variant.predictor(fitted.state, POOL), sets_of(), tmp_path)
    expected = learner(recipe, tmp_path).fit(pseudo, seed=1, round=2)
    steps: list[tuple[int, int]] = []
    twice = learner(recipe.model_copy(update={"pseudo_labels": True}), tmp_path).fit(
        sets_of(), seed=1, round=2, on_step=lambda done, total: steps.append((done, total))
    )
    assert all(torch.equal(twice.state[name], tensor) for name, tensor in expected.state.items())
    assert (twice.steps, twice.loss) == (6, expected.loss)
    assert steps == [(done, 6) for done in range(1, 7)]


@both
@pytest.mark.parametrize(
    ("kill", "every_s", "first_step"),
    [(2, 0.0, 3), (3, 0.0, 3), (5, 0.0, 6), (5, 1e6, 4)],
    ids=["in the first fit", "at its end", "in the second fit", "before its first checkpoint"],
)
def test_a_fit_that_is_killed_goes_on_in_its_stage_and_ends_with_the_same_bits(
    tmp_path: Path, kill: int, every_s: float, first_step: int, frozen: bool
) -> None:
    recipe = tiny_recipe(iterations=3, frozen=frozen, pseudo_labels=True)
    whole = learner(recipe, tmp_path).fit(sets_of(), seed=0, round=0)
    checkpoint = tmp_path / "fit.pt"
    with pytest.raises(Killed):
        learner(recipe, tmp_path, checkpoint_every_s=every_s).fit(
            sets_of(), seed=0, round=0, checkpoint=checkpoint, on_step=kill_at(kill)
        )
    steps: list[int] = []
    again = learner(recipe, tmp_path, checkpoint_every_s=0.0).fit(
        sets_of(), seed=0, round=0, checkpoint=checkpoint, on_step=lambda done, _: steps.append(done)
    )
    assert all(torch.equal(again.state[name], tensor) for name, tensor in whole.state.items())
    assert (again.steps, again.loss) == (whole.steps, whole.loss)
    assert (steps[0], steps[-1]) == (first_step, 6)


def test_other_labels_are_trained_on_once(tmp_path: Path) -> None:
    recipe = tiny_recipe(iterations=3)
    once = learner(recipe, tmp_path).fit(label(POOL_MASKS, GRID, REGIONS), seed=0, round=0)
    also = learner(recipe.model_copy(update={"pseudo_labels": True}), tmp_path).fit(
        label(POOL_MASKS, GRID, REGIONS), seed=0, round=0
    )
    assert also.steps == 3 and all(torch.equal(also.state[name], tensor) for name, tensor in once.state.items())


def test_a_suite_counts_both_fits_and_refuses_what_has_no_effect() -> None:
    settings = {
        "name": "sets", "dataset": {"name": "scenes"}, "region_size": 16, "seeds": [0], "budgets": [8, 16],
        "strategies": ["random"], "labels": ["precise", "multi-class"],
        "learner": {"iterations": 7, "pseudo_labels": True},
    }  # fmt: skip
    steps = {spec.labels: round_steps(spec, 0, num_images=4) for spec in Suite.model_validate(settings).trials()}
    assert steps == {"precise": 7, "multi-class": 14}
    with pytest.raises(ValueError, match="pseudo_labels, which are made of sets of classes"):
        Suite.model_validate({**settings, "labels": "dominant"})


def test_recipes_without_it_have_the_digest_of_before() -> None:
    assert "pseudo_labels" not in Recipe(iterations=1).settings()
    assert Recipe(iterations=1, pseudo_labels=True).digest() != Recipe(iterations=1).digest()
