"""`make bench`: both sides do the same work; how fast they are is not tested."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from performance.__main__ import bench
from performance.learner import Case, bench_growth, bench_shapes, bench_together, naive, open_case
from performance.learner.process import started
from performance.learner.sides import SIDES
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.learning.learner import Learner


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("bench")
    settings = ["learner.batch_size=2", "learner.crop=40", "learner.loss_stride=1", "learner.decoder_channels=8"]
    suite = load_suite("quickstart", settings)
    return open_case(suite, folder, num_images=8, size=(48, 72), device="cpu", threads=1, workers=0)


def test_drawn_scenes_are_files_in_the_layout_of_cityscapes(case: Case) -> None:
    assert len(case.files) == 8 and case.num_classes == 19
    assert all(pair.image.is_file() and pair.image.name.endswith("_leftImg8bit.png") for pair in case.files)
    split = case.split()
    assert split.sizes.tolist() == [[48, 72]] * 8
    np.testing.assert_array_equal(split.images.image(3), case.files[3].read_image())


def test_a_data_set_that_is_not_on_disk_is_written_as_files(tmp_path: Path) -> None:
    suite = load_suite("quickstart", [])
    case = open_case(suite, tmp_path, num_images=8, size=None, device="cpu", threads=1, workers=0)
    assert len(case.files) == 8 and case.num_classes == 10
    assert {pair.image.suffix for pair in case.files} == {".png"}


def test_both_sides_have_the_same_architecture(case: Case) -> None:
    split = case.split()
    learner = Learner(
        case.recipe,
        train=split.images,
        test=split.images,
        num_classes=case.num_classes,
        device="cpu",
        threads=1,
        cache_dir=case.cache_dir,
    )
    ours = learner.training(case.labels(split), seed=0, round=0).network
    theirs = naive.build(case)
    assert sorted(tuple(parameter.shape) for parameter in ours.parameters()) == sorted(
        tuple(parameter.shape) for parameter in theirs.parameters()
    )


def test_the_naive_baseline_trains_on_labelled_regions_only(case: Case) -> None:
    unscaled = case.recipe.model_copy(update={"scale": (1.0, 1.0)})
    crops = naive.LabelledCrops(dataclasses.replace(case, recipe=unscaled))
    grid = RegionGrid(case.split().sizes, case.region_size)
    assert len(crops) == len(np.unique(grid.image[list(case.labelled)]))
    image, label = crops[0]
    assert image.shape == (3, 48, 48) and label.shape == (48, 48)  # 40, padded to what smp takes
    num_labelled = (label != 255).sum()
    assert 0 <= num_labelled <= len(case.labelled) * case.region_size**2


def test_naive_region_entropies_are_means_over_clipped_regions() -> None:
    logits = torch.randn(5, 20, 30, generator=torch.Generator().manual_seed(0))
    found = naive.region_entropies(logits, 8)
    entropy = torch.special.entr(torch.softmax(logits, dim=0)).sum(dim=0)
    assert found.shape == (3, 4)
    assert found[2, 3] == pytest.approx(float(entropy[16:, 24:].mean()), abs=1e-5)
    assert found[1, 1] == pytest.approx(float(entropy[8:16, 8:16].mean()), abs=1e-5)


@pytest.mark.parametrize("name", [name for name in SIDES if name != "quadrat growth"])
def test_a_block_is_as_long_as_it_says(case: Case, name: str) -> None:
    count = 2 if name.endswith("fit") else len(case.files)
    block = SIDES[name](case).run(count)
    assert block.images == 2 * case.recipe.batch_size if name.endswith("fit") else len(case.files) - 4
    assert block.elapsed_s > 0
    assert (block.waited_s is None) == name.startswith(("quadrat score", "quadrat forward"))
    assert block.waited_s is None or 0 <= block.waited_s <= block.elapsed_s


def test_the_frozen_naive_baseline_trains_the_decoder_alone(case: Case) -> None:
    recipe = case.recipe.model_copy(update={"frozen": True, "crop": 48, "scale": (1.0, 1.0)})
    network = naive.build(dataclasses.replace(case, recipe=recipe))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained and not any(name.startswith("encoder.") for name in trained)


@pytest.mark.slow
def test_the_command_says_what_is_equal_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = "--images 8 --size 48x64 --threads 1 --workers 0 --repeats 2 --json --set learner.batch_size=2"
    done = CliRunner().invoke(bench, ["fit", "quickstart", "--iterations", "1", *arguments.split()])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [row["side"] for row in result["rows"]] == ["naive fit", "quadrat fit"]
    assert len(result["ratios"]) == 2 and min(result["ratios"]) <= result["ratio"] <= max(result["ratios"])
    assert all(row["peak_mib"] > 0 and row["device_peak_mib"] is None for row in result["rows"])
    assert result["not_measured"] == [] and all(row["gpu_busy_share"] is None for row in result["rows"])
    assert any("loss_stride 4" in line for line in result["not_equal"])


@pytest.mark.slow
def test_a_refusal_of_a_side_process_is_one_message_and_a_crash_comes_with_its_traceback(
    case: Case, tmp_path: Path
) -> None:
    nowhere = dataclasses.replace(case, recipe=case.recipe.model_copy(update={"weights": str(tmp_path / "none.pth")}))
    with pytest.raises(QuadratError) as refused, started([("quadrat fit", nowhere)]):
        pass
    assert "none.pth" in str(refused.value) and "Traceback" not in str(refused.value)
    with pytest.raises(QuadratError, match=r"a process of the benchmark failed:\nTraceback(.|\n)*KeyError"):
        with started([("no such side", case)]):
            pass


@pytest.mark.slow
def test_growth_streams_more_for_more_images(case: Case) -> None:
    rows = bench_growth(case, (4, 8))["rows"]
    assert [row["images"] for row in rows] == [4, 8]
    assert rows[1]["streamed_mib"] > rows[0]["streamed_mib"] > 0
    assert all(row["peak_mib"] >= row["peak_own_mib"] >= row["before_mib"] > 0 for row in rows)


def test_passes_on_superpixels_are_set_beside_those_on_the_grid(case: Case) -> None:
    result = bench_shapes(case, ["slic"], repeats=2)
    assert [(row["regions of"], row["pass"]) for row in result["rows"]] == [
        ("slic", "entropy"),
        ("slic", "entropy and features"),
    ]
    grid = RegionGrid(case.split().sizes, case.region_size).num_regions
    for row in result["rows"]:
        assert len(row["ratios"]) == 2 and min(row["ratios"]) <= row["ratio"] <= max(row["ratios"])
        assert row["regions"][1] == grid and row["regions"][0] > 0 < row["grid_ms_per_image"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "12"], "expected HEIGHTxWIDTH"),
        (["--growth", "ten"], "expected whole numbers above 0"),
        (["--set", "learner.crop=none"], "learner.crop"),
        pytest.param(
            ["--device", "cuda"],
            "error: device 'cuda' was asked for and torch sees no CUDA device: take 'cpu'",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_mistakes_are_answered_before_anything_runs(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(bench, ["score", "quickstart", *arguments])
    assert done.exit_code != 0
    assert message in done.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "count", "threads_each"), [("fit", 2, {2: 1}), ("score", 8, {1: 2})], ids=["fit", "score"]
)
def test_trials_at_once_divide_the_threads_and_are_set_beside_one_alone(
    case: Case, phase: Literal["fit", "score"], count: int, threads_each: dict[int, int]
) -> None:
    two_threads = dataclasses.replace(case, threads=2)
    result = bench_together(two_threads, list(threads_each), phase=phase, count=count, repeats=2)
    assert {row["trials"]: row["threads_each"] for row in result["rows"]} == threads_each
    for row in result["rows"]:
        assert row["images_per_s"] > 0 and len(row["ratios"]) == 2 and row["peak_mib"] > 0
        assert row["device_peak_mib"] is None
