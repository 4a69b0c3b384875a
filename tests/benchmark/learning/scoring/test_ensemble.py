"""Ensembles: the signal by hand, members from other seeds, the scoring pass over all of them."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.learning_fakes import NUM_CLASSES, label, make_grid, make_learner, make_set, random_predict, tiny_recipe

from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.ensemble import NUM_MEMBERS, member_seed
from quadrat.benchmark.learning.scoring.predict import Predict, Prediction
from quadrat.benchmark.learning.scoring.score import score_regions
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, ensemble_entropy, load_signals

IMAGES, MASKS = make_set()
GRID = make_grid(MASKS)
CPU = torch.device("cpu")


def test_the_signal_of_two_members_by_hand() -> None:
    logits = [torch.tensor(prob).log().reshape(1, 2, 1, 1) for prob in ((0.9, 0.1), (0.3, 0.7))]
    outputs = Outputs(logits_BCHW=logits[0], run_members=lambda: logits)
    assert ensemble_entropy.per_pixel is not None
    found = ensemble_entropy.per_pixel(outputs).item()
    assert found == pytest.approx(-(0.6 * math.log(0.6) + 0.4 * math.log(0.4)), abs=1e-6)


def turned(predict: Predict, by: int) -> Predict:
    """Return predictions with the classes turned and the logits scaled, as of another network."""

    def run(indices: Sequence[int]) -> Prediction:
        own = predict(indices)
        return own._replace(logits_BChw=own.logits_BChw.roll(by, dims=1) * (1 + by))

    return run


def test_a_region_has_the_mean_entropy_of_the_mean_over_all_members() -> None:
    own = random_predict(IMAGES)
    others = [turned(own, by) for by in (1, 2)]
    found = score_regions(
        own, GRID, load_signals(["ensemble-entropy"]), with_features=False, members=others, device=CPU
    ).signals["ensemble-entropy"]
    expected: list[NDArray[np.float64]] = []
    for image, (height, width) in enumerate(IMAGES.sizes.tolist()):
        logits = [predict([image]).logits_BChw for predict in (own, *others)]
        prob = torch.stack([upsample(one, 4)[0, :, :height, :width].softmax(dim=0) for one in logits]).double()
        mean = prob.mean(dim=0)
        entropy = -(mean * mean.log()).sum(dim=0).numpy()
        region = GRID.window(image, 0, 0, height, width) - GRID.first[image]
        sums = np.bincount(region.ravel(), weights=entropy.ravel())
        expected.append(sums / np.bincount(region.ravel()))
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_members_are_trained_from_seeds_of_their_own_and_the_first_from_that_of_the_trial(tmp_path: Path) -> None:
    assert member_seed(7, 0) == 7
    assert len({member_seed(seed, member) for seed in (0, 1) for member in range(NUM_MEMBERS)}) == 2 * NUM_MEMBERS
    learner = make_learner(tiny_recipe(iterations=2), tmp_path, train=IMAGES, test=IMAGES)
    own, other, again = (
        learner.fit(label(MASKS, GRID), seed=member_seed(0, member), round=0).state for member in (0, 1, 1)
    )
    name = next(name for name, tensor in own.items() if name.startswith("decoder") and tensor.ndim == 4)
    assert torch.equal(other[name], again[name]) and not torch.equal(own[name], other[name])


@pytest.mark.parametrize("frozen", [False, True])
def test_an_ensemble_of_equal_members_has_the_entropy_of_one(tmp_path: Path, frozen: bool) -> None:
    learner = make_learner(tiny_recipe(iterations=2, frozen=frozen), tmp_path, train=IMAGES, test=IMAGES)
    fitted = learner.fit(label(MASKS, GRID), seed=0, round=0)
    found = learner.score(
        fitted, GRID, signals=("ensemble-entropy", "entropy"), features=False, seed=0, round=0, members=[fitted] * 4
    ).signals
    np.testing.assert_allclose(found["ensemble-entropy"], found["entropy"], atol=1e-6)
    assert 0 < found["entropy"].max() <= math.log(NUM_CLASSES) + 1e-6


def test_a_signal_of_another_number_of_models_is_refused() -> None:
    with pytest.raises(ValueError, match="of 1 model or of 5, got 3"):
        Signal(per_pixel=lambda outputs: outputs.members.prob_BCHW[:, 0], num_models=3)
