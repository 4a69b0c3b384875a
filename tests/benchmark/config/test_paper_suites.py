"""The suites of the paper: its protocol in numbers, one suite for each ablation, in sizes that can be run anywhere."""

import functools
import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from support.fake_results import STRATEGIES

from quadrat.benchmark.config.suite import Suite, load_suite, shipped_suites
from quadrat.benchmark.config.trial import FULL_SUPERVISION
from quadrat.benchmark.data import load_dataset
from quadrat.benchmark.data.regions import RegionGrid
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial

ABLATIONS = {
    "distance": "V-A/cityscapes",
    "cutoff": "V-B",
    "ratios": "V-C",
    "region-size": "V-D",
    "set-function": "V-E/cityscapes",
    "feature-dimension": "V-H",
    "bald": "I",
}
SCENES = [f"scenes-{ablation}" for ablation in ABLATIONS]
# Up to 8 % of the pool both set functions select the same regions (measured: in 20 rounds of 20).
LARGER_BUDGETS = {"scenes-set-function": 0.4}


@functools.cache
def shipped(name: str) -> Suite:
    return load_suite(name)


@pytest.mark.parametrize(
    ("name", "region_size", "crop", "lr", "iterations"),
    [("cityscapes-paper", 128, 769, 0.01, 18_594), ("voc-paper", 32, 513, 0.007, 9_150)],
)
def test_the_protocol_is_the_papers(name: str, region_size: int, crop: int, lr: float, iterations: int) -> None:
    suite = shipped(name)
    assert suite.region_size == region_size
    assert suite.budgets == (1000, 2000, 4000, 8000, 16000, 32000)
    assert tuple(entry.label for entry in suite.strategies) == STRATEGIES
    assert suite.seeds == (0, 1, 2, 3, 4)
    (full, *_) = [trial for trial in suite.trials() if trial.strategy == FULL_SUPERVISION]
    assert full.learner == suite.learner.model_copy(update={"iterations": 30_000})
    assert (suite.dataset.pool, suite.dataset.test) == ("train", "val")
    learner = suite.learner
    assert (learner.encoder, learner.weights, learner.output_stride) == ("xception41", "imagenet", 16)
    assert (learner.decoder_channels, learner.atrous_rates) == (256, (6, 12, 18))
    assert (learner.optimizer, learner.lr, learner.poly_power) == ("sgd", lr, 0.9)
    assert (learner.iterations, learner.batch_size, learner.crop) == (iterations, 16, crop)
    assert (learner.scale, learner.flip, learner.crop_placement) == ((0.5, 2.0), True, "uniform")


def paper_suites(data_set: str) -> list[Suite]:
    return [shipped(name) for name in shipped_suites() if name.startswith(f"{data_set}-")]


@pytest.mark.parametrize(("data_set", "num_images"), [("cityscapes", 2975), ("voc", 1464)])
def test_a_round_trains_for_100_epochs_of_the_whole_set(data_set: str, num_images: int) -> None:
    """One iteration shows 16 images; the last batch of the last epoch may be begun."""
    suites = paper_suites(data_set)
    assert len(suites) == {"cityscapes": 9, "voc": 4}[data_set]
    for suite in suites:
        iterations = suite.learner.iterations
        assert iterations is not None and suite.learner.epochs is None
        assert 16 * (iterations - 1) < 100 * num_images <= 16 * iterations


@pytest.mark.parametrize(("data_set", "num_images"), [("cityscapes", 2975), ("voc", 1464)])
def test_epochs_of_the_labelled_images_are_offered_too(data_set: str, num_images: int) -> None:
    for suite in paper_suites(data_set):
        learner = load_suite(suite.name, ["learner.iterations=null", "learner.epochs=100"]).learner
        assert (learner.iterations, learner.epochs) == (None, 100)
        assert learner.num_steps(num_images) == suite.learner.iterations
        assert learner.num_steps(160) == 1000  # 160 images with a label: ten batches an epoch


def test_the_last_budget_on_cityscapes_is_8_4_percent_of_the_pixels() -> None:
    suite = shipped("cityscapes-paper")
    grid = RegionGrid(torch.tensor([[1024, 2048]] * 2975).numpy(), suite.region_sizes[0])
    assert grid.num_regions == 380_800
    assert round(100 * suite.budgets[-1] * 128**2 / (2975 * 1024 * 2048), 1) == 8.4


@pytest.mark.parametrize("size", ["cityscapes", "camvid", "scenes"])
@pytest.mark.parametrize(("ablation", "key"), ABLATIONS.items())
def test_every_ablation_comes_in_three_sizes_and_names_its_table(size: str, ablation: str, key: str) -> None:
    assert shipped(f"{size}-{ablation}").paper == key


@pytest.mark.parametrize(("name", "key"), [("voc-distance", "V-A/voc"), ("voc-set-function", "V-E/voc")])
def test_the_tables_on_voc_have_suites_of_their_own(name: str, key: str) -> None:
    assert shipped(name).paper == key


@pytest.mark.parametrize("size", ["cityscapes", "voc", "camvid", "scenes"])
def test_labels_are_the_row_names_of_the_papers_tables(size: str) -> None:
    rows = [entry.label for entry in shipped(f"{size}-distance").strategies]
    assert rows == ["linear", "piece-wise"]
    rows = [entry.label for entry in shipped(f"{size}-set-function").strategies]
    assert rows == ["max-sum", "max-min"]


def test_region_sizes_are_compared_at_the_papers_budgets() -> None:
    budgets = {spec.region_size: spec.budgets[0] for spec in shipped("cityscapes-region-size").trials()}
    assert budgets == {128: 1000, 64: 4000, 256: 250}


@pytest.mark.parametrize("size", ["cityscapes", "camvid", "scenes"])
def test_feature_dimensions_are_a_quarter_half_and_all_of_the_decoder(size: str) -> None:
    suite = shipped(f"{size}-feature-dimension")
    dims = [entry.params["pca_dim"] for entry in suite.strategies if entry.name == "entropy-feature"]
    width = suite.learner.decoder_channels
    assert dims == [width // 4, width // 2, width]


def test_ablations_train_as_the_suite_that_they_extend() -> None:
    for base, size in (("cityscapes-paper", "cityscapes"), ("camvid-cpu", "camvid"), ("quickstart", "scenes")):
        for ablation in ABLATIONS:
            suite = shipped(f"{size}-{ablation}")
            assert suite.learner == shipped(base).learner
            if suite.name not in LARGER_BUDGETS:
                assert suite.budgets == shipped(base).budgets


def test_no_shipped_suite_labels_more_than_its_pool_holds() -> None:
    num_px = {"cityscapes": 2975 * 1024 * 2048, "camvid": 367 * 360 * 480, "scenes": 120 * 96 * 144}
    for name in shipped_suites():
        suite = shipped(name)
        if suite.dataset.name in num_px:
            labelled_px = suite.budgets[-1] * suite.region_sizes[0] ** 2
            assert labelled_px < LARGER_BUDGETS.get(name, 0.2) * num_px[suite.dataset.name]


@pytest.mark.parametrize("data_set", ["scenes", "camvid", "cityscapes"])
def test_every_shape_is_compared_under_every_label_type_with_its_own_random(data_set: str) -> None:
    trials = [spec for spec in shipped(f"{data_set}-shapes").trials() if spec.strategy != FULL_SUPERVISION]
    shapes, kinds = ("grid", "slic", "seeds"), ("precise", "dominant", "multi-class")
    strategies = ("random", "entropy", "entropy-spatial", "class-balanced")
    asked = Counter((spec.regions.name, spec.labels, spec.strategy) for spec in trials)
    assert asked == Counter(dict.fromkeys(itertools.product(shapes, kinds, strategies), 3))
    names = {spec.label: " ".join((spec.strategy, spec.regions.name, spec.labels)) for spec in trials}
    assert {label: name.replace(" grid", "").replace(" precise", "") for label, name in names.items()} == {
        label: label for label in names
    }


def region_sizes(suite: Suite) -> set[int]:
    """Return the sizes that the suite, one of its strategies or its study has."""
    searched = {} if suite.study is None else suite.study.distributions()
    choices = getattr(searched.get("region_size"), "choices", ())
    return {trial.region_size for trial in suite.trials()} | set(choices)


def test_no_region_of_the_scenes_is_clipped() -> None:
    """Equal numbers of regions are equal numbers of pixels, whichever regions a strategy prefers."""
    suites = [suite for suite in map(shipped, shipped_suites()) if suite.dataset.name == "scenes"]
    assert {"quickstart", "scenes-study", *SCENES} <= {suite.name for suite in suites}
    assert set().union(*map(region_sizes, suites)) >= {8, 16, 24, 32}
    images: dict[str, list[tuple[int, ...]]] = {}  # suites share their images, and rendering them takes seconds
    for suite in suites:
        key = suite.dataset.model_dump_json()
        if key not in images:
            items = load_dataset("scenes", **suite.dataset.params).items(suite.dataset.pool)
            images[key] = [item.read_mask().shape for item in items]
        for size in region_sizes(suite):
            assert set(RegionGrid(images[key], size).pixels.tolist()) == {size**2}, (suite.name, size)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCENES, "scenes-shapes"])
def test_a_suite_on_scenes_runs_its_first_rounds(name: str, tmp_path: Path) -> None:
    small = [
        "dataset.params={num_train: 16, num_test: 2}",
        "learner.iterations=2",
        "full_supervision={iterations: 2}",
        "seeds=[0]",
        "budgets=[8, 16]",
    ]
    context = TrialContext.open(load_suite(name, small), tmp_path)
    context.prepare_results()
    for spec in context.suite.trials():
        rounds = [record.round for record in run_trial(spec, context)]
        assert rounds == list(range(spec.num_rounds))


@pytest.mark.slow
def test_deeplabv3plus_on_xception41_has_maps_at_strides_4_and_16() -> None:
    # No download: random weights, the same architecture (28 million parameters with the decoder's).
    recipe = Recipe(encoder="xception41", weights="none", iterations=1)
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, 19, seed=0)).eval()
    with torch.inference_mode():
        image = encoder.prepare(torch.zeros(1, 129, 161, 3, dtype=torch.uint8))
        encoded = encoder(image)
        logits = network(image)
    assert image.shape[2:] == (144, 176)
    assert (encoded.low.shape[2:], encoded.high.shape[2:]) == ((36, 44), (9, 11))
    assert encoder.channels == (256, 2048)
    assert logits.shape == (1, 19, 36, 44)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(28e6, rel=0.03)
