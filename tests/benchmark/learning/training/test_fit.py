"""Fits: reproducible bit for bit, resumable, on labelled regions only, and golden losses."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import (
    FakeMasks,
    Killed,
    annotation,
    kill_at,
    label,
    make_grid,
    make_learner,
    make_set,
    tiny_recipe,
)
from support.paths import GOLDEN

from quadrat.benchmark.config.trial import LabelType
from quadrat.benchmark.errors import DataError, ResultsError, StopRequested, TrainingError
from quadrat.benchmark.learning import Fitted, Learner, Recipe
from quadrat.benchmark.learning.learner import CheckpointError
from quadrat.benchmark.learning.scoring.metrics import pixel_accuracy
from quadrat.benchmark.trial.oracle import RevealedLabels

LOSSES = GOLDEN / "losses_tiny.txt"
POOL, POOL_MASKS = make_set(seed=0)
TEST, TEST_MASKS = make_set(seed=1)
GRID = make_grid(POOL_MASKS)
REGIONS = np.random.default_rng(0).choice(GRID.num_regions, 20, replace=False)


def learner(recipe: Recipe, cache_dir: Path, **changes: object) -> Learner:
    return make_learner(recipe, cache_dir, train=POOL, test=TEST, **changes)


def labels(regions: np.ndarray = REGIONS) -> RevealedLabels:
    return label(POOL_MASKS, GRID, regions)


def assert_same_bits(first: Fitted, second: Fitted) -> None:
    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert (first.loss, first.steps) == (second.loss, second.steps)


both_recipes = pytest.mark.parametrize("frozen", [False, True])
all_recipes = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "lr": 0.01, "loss_stride": 4},
        {"crop": 35, "scale": (1.0, 1.0), "precision": "bf16"},
        {"frozen": True},
        {"frozen": True, "loss_stride": 1, "optimizer": "adamw"},
    ],
    ids=str,
)


@all_recipes
def test_same_arguments_give_the_same_bits(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = tiny_recipe(iterations=4, **changes)
    one = learner(recipe, tmp_path / "one")
    first = one.fit(labels(), seed=3, round=1)
    one.fit(labels(), seed=4, round=0)  # earlier fits have no influence
    again = one.fit(labels(), seed=3, round=1)
    torch.manual_seed(99)
    elsewhere = learner(recipe, tmp_path / "two").fit(labels(), seed=3, round=1)
    assert_same_bits(first, again)
    assert_same_bits(first, elsewhere)


@both_recipes
def test_seed_and_round_change_the_weights(tmp_path: Path, frozen: bool) -> None:
    one = learner(tiny_recipe(iterations=2, frozen=frozen), tmp_path)
    losses = {one.fit(labels(), seed=seed, round=round_).loss for seed, round_ in ((0, 0), (0, 1), (1, 0))}
    assert len(losses) == 3


@all_recipes
def test_interrupted_fit_ends_with_the_same_bits(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = tiny_recipe(iterations=6, **changes)
    expected = learner(recipe, tmp_path).fit(labels(), seed=0, round=2)

    checkpoint = tmp_path / "fit.pt"
    for step in (2, 5):
        with pytest.raises(Killed):
            learner(recipe, tmp_path, checkpoint_every_s=0.0).fit(
                labels(), seed=0, round=2, checkpoint=checkpoint, on_step=kill_at(step)
            )
        state = checkpoint.read_bytes().partition(b"\n")[2]  # after the line with its digest
    assert torch.load(io.BytesIO(state), weights_only=True)["step"] == step
    steps: list[int] = []
    resumed = learner(recipe, tmp_path).fit(
        labels(), seed=0, round=2, checkpoint=checkpoint, on_step=lambda done, _: steps.append(done)
    )
    assert steps == [6]
    assert_same_bits(resumed, expected)


@both_recipes
@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_fit_that_is_asked_to_stop_repeats_no_iteration(tmp_path: Path, frozen: bool, step: int) -> None:
    recipe, checkpoint = tiny_recipe(iterations=6, frozen=frozen), tmp_path / "fit.pt"
    expected = learner(recipe, tmp_path).fit(labels(), seed=0, round=2)
    steps: list[int] = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done == step:
            raise StopRequested

    with pytest.raises(StopRequested):
        learner(recipe, tmp_path).fit(labels(), seed=0, round=2, checkpoint=checkpoint, on_step=stop)
    resumed = learner(recipe, tmp_path).fit(
        labels(), seed=0, round=2, checkpoint=checkpoint, on_step=lambda done, _: steps.append(done)
    )
    assert steps == [1, 2, 3, 4, 5, 6]
    assert_same_bits(resumed, expected)


def test_a_plain_interrupt_ends_a_fit_at_once(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    checkpoint = tmp_path / "fit.pt"
    with pytest.raises(KeyboardInterrupt):
        learner(tiny_recipe(iterations=6), tmp_path).fit(
            labels(), seed=0, round=2, checkpoint=checkpoint, on_step=interrupt
        )
    assert not checkpoint.exists()


@both_recipes
def test_global_generators_are_unchanged(tmp_path: Path, frozen: bool) -> None:
    import random

    one = learner(tiny_recipe(iterations=2, frozen=frozen), tmp_path)
    torch.manual_seed(0)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    fitted = one.fit(labels(), seed=0, round=0)
    one.score(fitted, GRID, signals=["entropy"], features=True, seed=0, round=0)
    one.evaluate(fitted, TEST_MASKS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


def test_checkpoint_of_another_fit_is_refused(tmp_path: Path) -> None:
    one = learner(tiny_recipe(iterations=3), tmp_path, checkpoint_every_s=0.0)
    one.fit(labels(), seed=0, round=0, checkpoint=tmp_path / "fit.pt")
    with pytest.raises(CheckpointError, match=r"fit\.pt is another fit's: expected round=1, got 0"):
        one.fit(labels(), seed=0, round=1, checkpoint=tmp_path / "fit.pt")
    with pytest.raises(CheckpointError, match="is another fit's: expected labelled="):
        one.fit(labels(REGIONS[:5]), seed=0, round=0, checkpoint=tmp_path / "fit.pt")


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    one, path = learner(tiny_recipe(iterations=3), tmp_path, checkpoint_every_s=0.0), tmp_path / "fit.pt"
    one.fit(labels(), seed=0, round=0, checkpoint=path)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-5000] ^= 4  # in a tensor: torch.load takes it as it is
    for damaged in (b"half of a file", b"", data[:-1], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"the checkpoint .*fit\.pt is damaged"):
            one.fit(labels(), seed=0, round=0, checkpoint=path)
    path.write_bytes(data)
    one.fit(labels(), seed=0, round=0, checkpoint=path)


def test_a_full_disk_is_an_error_and_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    one = learner(tiny_recipe(iterations=3), tmp_path, checkpoint_every_s=0.0)
    checkpoint = tmp_path / "fit.pt"
    one.fit(labels(), seed=0, round=0, checkpoint=checkpoint)
    before = checkpoint.read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    longer = learner(tiny_recipe(iterations=3), tmp_path, checkpoint_every_s=0.0)
    monkeypatch.setattr(os, "fsync", refuse)
    fitted = longer.fit(labels(), seed=0, round=0)
    with pytest.raises(ResultsError, match="No space left on device"):
        fitted.save(checkpoint)
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.pt"]


def test_loss_that_is_not_finite_names_iteration_and_rate(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is not finite at iteration \d+ of 12 .*lower lr=1e\+20"):
        learner(tiny_recipe(lr=1e20, weight_decay=0.0), tmp_path).fit(labels(), seed=0, round=0)


def test_a_fit_without_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least one labelled region"):
        learner(tiny_recipe(), tmp_path).fit(labels(np.array([], dtype=int)), seed=0, round=0)


def test_labels_of_other_classes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected labels of 5 classes, got 3"):
        learner(tiny_recipe(), tmp_path, num_classes=5).fit(labels(), seed=0, round=0)


def test_masks_of_other_images_are_an_error(tmp_path: Path) -> None:
    one = learner(tiny_recipe(iterations=1), tmp_path)
    _, others = make_set(sizes=((50, 70),))
    with pytest.raises(DataError, match="expected masks of the 4 test images"):
        one.evaluate(one.fit(labels(), seed=0, round=0), others)


def test_only_labels_of_labelled_regions_influence_the_weights(tmp_path: Path) -> None:
    hidden = [mask.copy() for mask in (POOL_MASKS.mask(index) for index in range(len(POOL_MASKS)))]
    for region in np.setdiff1d(np.arange(GRID.num_regions), REGIONS):
        box = GRID.box(region)
        hidden[GRID.image[region]][box.top : box.bottom, box.left : box.right] = 1
    one = learner(tiny_recipe(iterations=3), tmp_path)
    first = one.fit(labels(), seed=0, round=0)
    second = one.fit(label(FakeMasks(hidden), GRID, REGIONS), seed=0, round=0)
    assert_same_bits(first, second)


@both_recipes
def test_a_saved_fit_loads_with_the_same_bits(tmp_path: Path, frozen: bool) -> None:
    one = learner(tiny_recipe(iterations=2, frozen=frozen), tmp_path)
    fitted = one.fit(labels(), seed=0, round=0)
    fitted.save(tmp_path / "fitted.pt")
    assert_same_bits(Fitted.load(tmp_path / "fitted.pt"), fitted)
    assert any(name.startswith("encoder") for name in fitted.state) is not frozen


@pytest.mark.parametrize(("frozen", "precision"), [(False, "fp32"), (True, "bf16")])
def test_network_learns_colours_from_a_fifth_of_the_regions(tmp_path: Path, frozen: bool, precision: str) -> None:
    recipe = tiny_recipe(
        iterations=50, frozen=frozen, lr=0.01, optimizer="adamw", precision=precision, batch_size=4, dropout=0.1
    )
    one = learner(recipe, tmp_path)
    fitted = one.fit(labels(), seed=0, round=0)
    confusion = one.evaluate(fitted, TEST_MASKS)
    assert confusion.sum() == sum((TEST_MASKS.mask(index) != 255).sum() for index in range(len(TEST_MASKS)))
    assert pixel_accuracy(confusion) > 0.75
    np.testing.assert_array_equal(one.evaluate(fitted, TEST_MASKS), confusion)
    scores = one.score(fitted, GRID, signals=["entropy", "margin"], features=True, seed=0, round=0)
    again = one.score(fitted, GRID, signals=["entropy"], features=False, seed=0, round=0)
    np.testing.assert_array_equal(scores.signals["entropy"], again.signals["entropy"])
    assert scores.features is not None and scores.features.shape == (GRID.num_regions, 8)
    assert again.features is None and list(again.signals) == ["entropy"]


def steady_recipe(**changes: object) -> Recipe:
    """Return a recipe that does not amplify rounding, as the tiny one's batches of two do."""
    return tiny_recipe(**({"iterations": 20, "batch_size": 8, "lr": 0.01} | changes))


def test_bf16_stays_near_fp32(tmp_path: Path) -> None:
    full, half = (
        learner(steady_recipe(precision=precision, iterations=8), tmp_path).fit(labels(), seed=0, round=0)
        for precision in ("fp32", "bf16")
    )
    assert full.loss == pytest.approx(half.loss, rel=0.02)


@both_recipes
def test_inference_in_bf16_trains_in_fp32_and_stays_near(tmp_path: Path, frozen: bool) -> None:
    full_precision = learner(steady_recipe(frozen=frozen, iterations=8), tmp_path)
    mixed = learner(steady_recipe(frozen=frozen, iterations=8, inference_precision="bf16"), tmp_path)
    fitted = full_precision.fit(labels(), seed=0, round=0)
    assert_same_bits(mixed.fit(labels(), seed=0, round=0), fitted)
    full, half = (
        one.score(fitted, GRID, signals=["entropy", "bald"], features=True, seed=0, round=0)
        for one in (full_precision, mixed)
    )
    assert not np.array_equal(full.signals["entropy"], half.signals["entropy"])
    for name in ("entropy", "bald"):
        np.testing.assert_allclose(half.signals[name], full.signals[name], atol=0.01)
    assert np.linalg.norm(half.features - full.features) < 0.01 * np.linalg.norm(full.features)
    counts, half_counts = (one.evaluate(fitted, TEST_MASKS) for one in (full_precision, mixed))
    assert np.abs(counts - half_counts).sum() < 0.02 * counts.sum()


def test_losses_are_the_golden_ones(tmp_path: Path) -> None:
    import quadrat.benchmark.learning.learner as module

    kept = []
    train = module.train

    def keep(*args: object, **kwargs: object) -> torch.Tensor:
        kept.append(train(*args, **kwargs))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", keep)
        learner(steady_recipe(crop_placement="labelled"), tmp_path).fit(labels(), seed=0, round=0)
    np.testing.assert_allclose(kept[0].numpy(), np.loadtxt(LOSSES), rtol=1e-5)


def labels_of(kind: LabelType) -> RevealedLabels:
    return label(POOL_MASKS, GRID, REGIONS, annotation(POOL_MASKS, GRID, kind))


@pytest.mark.parametrize("kind", ["dominant", "multi-class"])
@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adamw", "lr": 0.01, "loss_stride": 4}, {"frozen": True}], ids=str
)
def test_interrupted_fit_on_labels_of_another_type_ends_with_the_same_bits(
    tmp_path: Path, kind: LabelType, changes: dict[str, object]
) -> None:
    recipe = tiny_recipe(iterations=4, **changes)
    whole = learner(recipe, tmp_path).fit(labels_of(kind), seed=3, round=1)
    checkpoint = tmp_path / "checkpoint.pt"
    cut = learner(recipe, tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Killed):
        cut.fit(labels_of(kind), seed=3, round=1, checkpoint=checkpoint, on_step=kill_at(3))
    steps: list[int] = []
    again = learner(recipe, tmp_path).fit(
        labels_of(kind), seed=3, round=1, checkpoint=checkpoint, on_step=lambda done, total: steps.append(done)
    )
    assert steps and steps[0] > 1
    assert_same_bits(again, whole)
    assert whole.loss != learner(recipe, tmp_path).fit(labels(), seed=3, round=1).loss


def test_checkpoint_of_another_label_type_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    one = learner(tiny_recipe(), tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Killed):
        one.fit(labels_of("dominant"), seed=0, round=0, checkpoint=checkpoint, on_step=kill_at(2))
    for other in (labels(), labels_of("multi-class")):
        with pytest.raises(CheckpointError, match="another fit's"):
            one.fit(other, seed=0, round=0, checkpoint=checkpoint)


def test_network_learns_colours_from_sets_of_classes(tmp_path: Path) -> None:
    """Regions that hold several classes say which, not where; the colours tell them apart."""
    one = learner(tiny_recipe(iterations=50, lr=0.01, optimizer="adamw", batch_size=4, dropout=0.1), tmp_path)
    found = annotation(POOL_MASKS, GRID, "multi-class")
    assert found is not None and found.sets_RC is not None and found.sets_RC.sum(axis=1).mean() > 1.5
    fitted = one.fit(label(POOL_MASKS, GRID, None, found), seed=0, round=0)
    assert pixel_accuracy(one.evaluate(fitted, TEST_MASKS)) > 0.75
