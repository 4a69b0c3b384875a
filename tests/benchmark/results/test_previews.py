"""What is kept of a round's model for the galleries of the report."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.learning.scoring.predict import Prediction
from quadrat.benchmark.learning.scoring.preview import ENTROPY_LEVELS, Preview, preview
from quadrat.benchmark.results.previews import fixed_images, pack_previews, previews_path, read_previews
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial

Predict = Callable[[Sequence[int]], Prediction]


def predict_constant(logits: list[float], height: int, width: int) -> Predict:
    """Return a network that says the same of every cell."""

    def predict(indices: Sequence[int]) -> Prediction:
        map_ = torch.tensor(logits).reshape(1, -1, 1, 1).repeat(len(indices), 1, -(-height // 4), -(-width // 4))
        return Prediction(features_BDhw=map_, logits_BChw=map_)

    return predict


def test_entropy_runs_from_0_where_one_class_is_certain_to_255_where_all_are_alike() -> None:
    certain = preview(predict_constant([50.0, 0.0, 0.0], 20, 30), 0, 20, 30, max_edge=240)
    alike = preview(predict_constant([1.0, 1.0, 1.0], 20, 30), 0, 20, 30, max_edge=240)
    assert certain.entropy.shape == (20, 30)
    assert (certain.entropy == 0).all() and (certain.predicted == 0).all()
    assert (alike.entropy == 255).all()


def test_entropy_is_that_of_the_prediction_to_the_nearest_level() -> None:
    probabilities = np.array([0.7, 0.2, 0.1])
    found = preview(predict_constant(np.log(probabilities).tolist(), 8, 8), 0, 8, 8, max_edge=240)
    expected = -(probabilities * np.log(probabilities)).sum() / math.log(3)
    assert found.entropy[0, 0] / 255 == pytest.approx(expected, abs=0.5 / (ENTROPY_LEVELS - 1) + 0.002)


def test_large_images_are_thinned_out_to_the_longest_edge_allowed() -> None:
    found = preview(predict_constant([0.0, 9.0], 100, 250), 0, 100, 250, max_edge=100)
    assert found.predicted.shape == found.entropy.shape == (33, 83)
    assert (found.predicted == 1).all()


def test_fixed_images_are_spread_over_the_pool_and_never_twice() -> None:
    for num in (1, 3, 4, 5, 367, 2975):
        images = fixed_images(num)
        assert len(set(images)) == len(images) == min(num, 4)
        assert 0 <= images[0] and images[-1] < num
    assert np.ptp(np.diff(fixed_images(2975))) <= 1


def test_what_is_packed_is_read_back(tmp_path: Path) -> None:
    maps = [Preview(np.full((2, 3), 7, np.uint8), np.full((2, 3), 200, np.uint8))]
    path = tmp_path / "round-0.npz"
    path.write_bytes(pack_previews([5], np.array([[20, 30]], np.int32), maps))
    (found,) = read_previews(path)
    assert (found.image, found.height, found.width) == (5, 20, 30)
    assert np.array_equal(found.predicted, maps[0].predicted) and np.array_equal(found.entropy, maps[0].entropy)
    assert read_previews(tmp_path / "none.npz") == []
    path.write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"round-0\.npz: expected prediction and entropy"):
        read_previews(path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    """A tiny suite of two seeds, run whole."""
    folder: Path = tmp_path_factory.mktemp("ran")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY_SUITE, "seeds": [3, 1], "budgets": [6, 12]}), encoding="utf-8")
    context = TrialContext.open(load_suite(path), folder / "results")
    for spec in context.suite.trials():
        list(run_trial(spec, context))
    return context


def test_every_round_of_the_first_seed_leaves_previews_of_the_same_images(ran: TrialContext) -> None:
    for spec in ran.suite.trials():
        found = [read_previews(previews_path(ran.artefacts.results_dir, spec.trial_id, round_)) for round_ in range(2)]
        expected = fixed_images(len(ran.data.pool.ids)) if spec.seed == 3 else []
        assert [[one.image for one in previews] for previews in found] == [expected, expected]


def test_previews_of_the_shared_round_0_are_computed_once(ran: TrialContext) -> None:
    assert len(list((ran.artefacts.results_dir / "store" / "preview").iterdir())) == 1 + 2
    first = [
        previews_path(ran.artefacts.results_dir, spec.trial_id, 0) for spec in ran.suite.trials() if spec.seed == 3
    ]
    assert len({path.read_bytes() for path in first}) == 1


def test_previews_that_are_there_need_neither_the_store_nor_a_fit(ran: TrialContext) -> None:
    shutil.rmtree(ran.artefacts.results_dir / "store" / "preview")
    spec = ran.suite.trials()[0]
    phases: list[str] = []
    list(run_trial(spec, ran, lambda progress: phases.append(progress.phase)))
    assert "fit" not in phases
    assert not (ran.artefacts.results_dir / "store" / "preview").exists()
