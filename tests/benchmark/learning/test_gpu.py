"""The learner on CUDA against the learner on a CPU: every test here needs a CUDA device and is skipped without one.

`python -m pytest -m gpu -rs tests/benchmark/learning/test_gpu.py` runs them; what could not be
run is listed with its reason.
"""

import copy
import gc
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from performance.learner.busy import busy_share
from performance.learner.sides import Block
from support.learning_fakes import (
    NUM_CLASSES,
    FakeImages,
    FakeMasks,
    Killed,
    kill_at,
    label,
    make_grid,
    make_set,
    tiny_recipe,
)
from torch import nn

from quadrat.benchmark.learning import Fitted, Learner, Recipe
from quadrat.benchmark.learning.network.depthwise import use_depthwise_kernels
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.network.upsampling import upsample_for_training
from quadrat.benchmark.learning.scoring.evaluation import count_confusion
from quadrat.benchmark.learning.scoring.metrics import pixel_accuracy
from quadrat.benchmark.learning.training.augment import cut_windows, resample
from quadrat.benchmark.learning.training.losses import segmentation_loss
from quadrat.benchmark.learning.training.sampler import Draw

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: no CUDA device here, needs one NVIDIA GPU"),
]

POOL, POOL_MASKS = make_set(seed=0)
TEST, TEST_MASKS = make_set(seed=1)
GRID = make_grid(POOL_MASKS)
REGIONS = np.random.default_rng(0).choice(GRID.num_regions, 20, replace=False)


def learner(recipe: Recipe, cache_dir: Path, device: str = "cuda") -> Learner:
    return Learner(
        recipe, train=POOL, test=TEST, num_classes=NUM_CLASSES, device=device, threads=1, cache_dir=cache_dir
    )


def fit(recipe: Recipe, cache_dir: Path, device: str = "cuda") -> Fitted:
    return learner(recipe, cache_dir, device).fit(label(POOL_MASKS, GRID, REGIONS), seed=0, round=0)


def largest_difference(first: Fitted, second: Fitted) -> float:
    return max(
        float((first.state[name].double() - second.state[name].double()).abs().max())
        for name in first.state
        if first.state[name].is_floating_point()
    )


recipes = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16"},
        {"optimizer": "adamw", "lr": 0.01, "loss_stride": 4},
        {"scale": (1.0, 1.0)},
        {"frozen": True},
        {"frozen": True, "loss_stride": 1},
    ],
    ids=str,
)


@recipes
def test_the_same_fit_gives_the_same_bits_twice(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = tiny_recipe(iterations=8, **changes)
    first, second = fit(recipe, tmp_path / "one"), fit(recipe, tmp_path / "two")
    assert largest_difference(first, second) == 0.0 and first.loss == second.loss


def test_the_same_fit_gives_the_same_bits_in_a_fresh_process(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_gpu; from pathlib import Path; "
        f"folder = Path({str(tmp_path)!r}); "
        "test_gpu.fit(test_gpu.tiny_recipe(iterations=8), folder).save(folder / 'f.pt')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
    here = fit(tiny_recipe(iterations=8), tmp_path)
    assert largest_difference(here, Fitted.load(tmp_path / "f.pt")) == 0.0


@recipes
def test_scores_and_counts_are_the_same_twice(tmp_path: Path, changes: dict[str, object]) -> None:
    one = learner(tiny_recipe(iterations=8, **changes), tmp_path)
    fitted = one.fit(label(POOL_MASKS, GRID, REGIONS), seed=0, round=0)
    wanted = {"signals": ["entropy", "bald"], "features": True, "profiles": ["class-histogram"], "seed": 0, "round": 0}
    first, second = (one.score(fitted, GRID, **wanted) for _ in range(2))
    for name in first.signals:
        np.testing.assert_array_equal(first.signals[name], second.signals[name])
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.profiles["class-histogram"], second.profiles["class-histogram"])
    np.testing.assert_array_equal(one.evaluate(fitted, TEST_MASKS), one.evaluate(fitted, TEST_MASKS))


def test_an_interrupted_fit_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = tiny_recipe(iterations=6)
    expected = fit(recipe, tmp_path)

    labels, checkpoint = label(POOL_MASKS, GRID, REGIONS), tmp_path / "fit.pt"
    one = learner(recipe, tmp_path)
    one._checkpoint_every_s = 0.0
    with pytest.raises(Killed):
        one.fit(labels, seed=0, round=0, checkpoint=checkpoint, on_step=kill_at(3))
    resumed = learner(recipe, tmp_path).fit(labels, seed=0, round=0, checkpoint=checkpoint)
    assert largest_difference(resumed, expected) == 0.0


@pytest.mark.parametrize("is_unscaled", [False, True])
def test_crops_are_those_of_a_cpu(is_unscaled: bool) -> None:
    side = 32 if is_unscaled else 41
    draws = [Draw(0, 3, 5, side, False), Draw(1, -4, 2, side, True)]
    windows = cut_windows(POOL, label(POOL_MASKS, GRID), draws, (128, 128, 128), is_pinned=True)
    on_cpu = resample(windows, 32, is_unscaled=is_unscaled)
    on_cuda = resample(windows.to(torch.device("cuda")), 32, is_unscaled=is_unscaled)
    torch.testing.assert_close(on_cuda[0].cpu(), on_cpu[0], atol=1e-2, rtol=1e-4)
    assert torch.equal(on_cuda[1].cpu(), on_cpu[1])


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_loss_and_gradients_are_those_of_a_cpu(loss_stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, NUM_CLASSES, 9, 11, generator=generator)
    labels = torch.randint(0, NUM_CLASSES, (2, 35, 41), dtype=torch.uint8, generator=generator)
    labels[:, :5] = 255
    found = []
    for device in ("cpu", "cuda"):
        leaf = logits.detach().to(device).requires_grad_()  # a leaf: detached, since `to` a CPU returns its argument
        loss = segmentation_loss(leaf, labels.to(device), loss_stride)
        loss.backward()
        found.append((loss.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)


@recipes
def test_a_cuda_graph_gives_the_bits_of_kernels_launched_one_by_one(tmp_path: Path, changes: dict[str, object]) -> None:
    fitted, scores = [], []
    for cuda_graphs in (True, False):
        recipe = tiny_recipe(iterations=12, dropout=0.5, cuda_graphs=cuda_graphs, **changes)
        fitted.append(fit(recipe, tmp_path / str(cuda_graphs)))
        many = Learner(
            recipe, train=FakeImages([POOL.image(0)] * 50, "many"), test=TEST, num_classes=NUM_CLASSES,
            device="cuda", threads=1, cache_dir=tmp_path / str(cuda_graphs),
        )  # fmt: skip
        grid = make_grid(FakeMasks([POOL_MASKS.mask(0)] * 50))
        wanted = {"signals": ["entropy", "bald"], "features": True, "seed": 0, "round": 0}
        scores.append(many.score(fitted[0], grid, **wanted))
    assert largest_difference(*fitted) == 0.0 and fitted[0].loss == fitted[1].loss
    np.testing.assert_array_equal(scores[0].signals["entropy"], scores[1].signals["entropy"])
    np.testing.assert_array_equal(scores[0].signals["bald"], scores[1].signals["bald"])
    np.testing.assert_array_equal(scores[0].features, scores[1].features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "dilation"), [(5, 2), (3, 6), (3, 18)])
def test_a_dilated_depthwise_convolution_is_that_of_a_cpu(kernel: int, dilation: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(96, 96, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=96)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    use_depthwise_kernels(layer)
    maps, weight = (torch.randn(2, 96, 23, 30, generator=generator) for _ in range(2))

    def values_and_gradients(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
        own = copy.deepcopy(layer).to(device, dtype)
        leaf = maps.to(device, dtype).to(memory_format=torch.channels_last).requires_grad_()
        found = own(leaf)
        gradients = torch.autograd.grad((found * weight.to(device, dtype)).sum(), [leaf, *own.parameters()])
        return [tensor.detach().double().cpu() for tensor in (found, *gradients)]

    expected, found = values_and_gradients("cpu", torch.float64), values_and_gradients("cuda", dtype)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < (1e-2 if dtype is torch.bfloat16 else 1e-5)
    again = values_and_gradients("cuda", dtype)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_the_gradient_of_upsampling_is_deterministic() -> None:
    leaf = torch.randn(4, 16, 33, 41, generator=torch.Generator().manual_seed(0)).cuda().requires_grad_()
    gradients = []
    for _ in range(3):
        leaf.grad = None
        upsample_for_training(leaf, 4).square().sum().backward()
        gradients.append(leaf.grad.clone())
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_channels_last_changes_the_layout_only() -> None:
    recipe = tiny_recipe()
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, NUM_CLASSES, seed=0)).cuda().eval()
    image = torch.randint(0, 256, (2, 64, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).cuda()
    with torch.inference_mode():
        last = network(network.encoder.prepare(image))
        first = network.to(memory_format=torch.contiguous_format)(network.encoder.prepare(image).contiguous())
    assert float((last - first).norm() / first.norm()) < 1e-3  # tf32 may be on: see torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_trained_on_cuda_learns_what_one_on_a_cpu_does(tmp_path: Path, precision: str) -> None:
    recipe = tiny_recipe(iterations=60, lr=0.01, optimizer="adamw", precision=precision, batch_size=4, dropout=0.1)
    one = learner(recipe, tmp_path)
    fitted = one.fit(label(POOL_MASKS, GRID, REGIONS), seed=0, round=0)
    assert pixel_accuracy(one.evaluate(fitted, TEST_MASKS)) > 0.75


def test_scores_on_cuda_are_those_of_a_cpu_within_rounding(tmp_path: Path) -> None:
    fitted = fit(tiny_recipe(iterations=8), tmp_path, device="cpu")
    found = [
        learner(tiny_recipe(iterations=8), tmp_path, device).score(
            fitted, GRID, signals=["entropy", "bald"], features=True, seed=0, round=0
        )
        for device in ("cpu", "cuda")
    ]
    for name in ("entropy", "bald"):
        np.testing.assert_allclose(found[1].signals[name], found[0].signals[name], atol=5e-3)
    difference = np.linalg.norm(found[1].features - found[0].features) / np.linalg.norm(found[0].features)
    assert difference < 2e-3


def test_bf16_scores_stay_near_those_of_fp32(tmp_path: Path) -> None:
    fitted = fit(tiny_recipe(iterations=8), tmp_path)
    full, half = (
        learner(tiny_recipe(iterations=8, precision=precision), tmp_path).score(
            fitted, GRID, signals=["entropy"], features=True, seed=0, round=0
        )
        for precision in ("fp32", "bf16")
    )
    assert np.linalg.norm(half.features - full.features) / np.linalg.norm(full.features) < 0.03
    assert np.abs(half.signals["entropy"] - full.signals["entropy"]).mean() < 0.03


def test_an_iteration_in_bf16_has_the_loss_of_one_in_fp32(tmp_path: Path) -> None:
    # One iteration: after twenty the losses of two roundings are as far apart as those of two seeds, on a CPU too.
    full, half = (fit(tiny_recipe(iterations=1, precision=precision), tmp_path) for precision in ("fp32", "bf16"))
    assert half.loss == pytest.approx(full.loss, rel=0.01)


def test_confusion_counts_are_those_of_a_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 6, (2, 50, 60), dtype=torch.uint8, generator=generator)
    truth[truth == 5] = 255
    predicted = torch.randint(0, 5, (2, 50, 60), generator=generator)
    assert torch.equal(count_confusion(truth.cuda(), predicted.cuda(), 5).cpu(), count_confusion(truth, predicted, 5))


def test_counting_does_not_synchronise() -> None:
    truth = torch.zeros((2, 50, 60), dtype=torch.uint8, device="cuda")
    predicted = torch.zeros((2, 50, 60), dtype=torch.int64, device="cuda")
    count_confusion(truth, predicted, 5)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        count_confusion(truth, predicted, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_training_loop_does_not_synchronise(tmp_path: Path) -> None:
    """Between the checks of the loss, every 50 iterations, nothing in the loop may read a tensor of the device."""
    waited: list[int] = []

    def guard(done: int, total: int) -> None:
        waited.append(done)
        torch.cuda.set_sync_debug_mode("error" if 5 <= done < 40 else "default")

    try:
        learner(tiny_recipe(iterations=45), tmp_path).fit(
            label(POOL_MASKS, GRID, REGIONS), seed=0, round=0, on_step=guard
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waited == list(range(1, 46))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_training_equals_eager_training_up_to_rounding(tmp_path: Path, mode: str) -> None:
    """Several fits in one process: later networks must find what was compiled for the first, CUDA graphs too."""
    plain = fit(tiny_recipe(iterations=12, dropout=0.5, lr=0.01), tmp_path)
    compiled = [fit(tiny_recipe(iterations=12, dropout=0.5, lr=0.01, compile=mode), tmp_path) for _ in range(3)]
    for fitted in compiled:
        assert fitted.loss == pytest.approx(plain.loss, rel=1e-2)
        assert largest_difference(fitted, compiled[0]) == 0.0
    del compiled
    gc.collect()
    held = torch.cuda.memory_allocated()
    for _ in range(3):
        fit(tiny_recipe(iterations=12, dropout=0.5, lr=0.01, compile=mode), tmp_path)
    gc.collect()
    assert torch.cuda.memory_allocated() - held < 64 * 2**20  # nothing is kept of each


def test_a_gpu_that_computes_is_busier_than_one_that_waits() -> None:
    matrix = torch.ones(4096, 4096, device="cuda")

    def work(pause_s: float) -> Block:
        matrix @ matrix
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(20):
            for _ in range(5):
                matrix @ matrix
            torch.cuda.synchronize()
            time.sleep(pause_s)
        return Block(images=0, elapsed_s=time.perf_counter() - begin, waited_s=None)

    idle, busy = busy_share(lambda: work(0.2)), busy_share(lambda: work(0.0))
    assert 0.0 < idle < busy <= 1.0


def _fit_and_send(folder: str, connection: "multiprocessing.connection.Connection") -> None:
    connection.send(fit(tiny_recipe(iterations=30), Path(folder)).loss)


def test_trials_that_share_a_gpu_get_the_numbers_of_one_alone(tmp_path: Path) -> None:
    expected = fit(tiny_recipe(iterations=30), tmp_path / "alone").loss
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(3)]
    processes = [
        context.Process(target=_fit_and_send, args=(str(tmp_path / str(number)), theirs))
        for number, (_, theirs) in enumerate(pairs)
    ]
    for process in processes:
        process.start()
    try:
        assert all(ours.poll(timeout=300) for ours, _ in pairs)
        assert [ours.recv() for ours, _ in pairs] == [expected] * 3
    finally:
        for process in processes:
            process.join(timeout=60)


def test_scoring_cityscapes_size_keeps_to_a_few_gib_of_the_device(tmp_path: Path) -> None:
    size = (1024, 2048)
    generator = np.random.default_rng(0)
    images = FakeImages([generator.integers(0, 256, (*size, 3), dtype=np.uint8)] * 8, "large")
    masks = FakeMasks([np.zeros(size, dtype=np.uint8)] * 8)
    grid = make_grid(masks, 128)
    one = Learner(
        tiny_recipe(iterations=2),
        train=images,
        test=images,
        num_classes=19,
        device="cuda",
        threads=1,
        cache_dir=tmp_path,
    )
    masks.num_classes = 19
    fitted = one.fit(label(masks, grid, [0, 1, 2]), seed=0, round=0)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    one.score(fitted, grid, signals=["entropy", "bald"], features=True, seed=0, round=0, folder=tmp_path)
    assert (torch.cuda.max_memory_allocated() - before) / 2**30 < 12.0
