"""The engine for CUDA returns the bits of the CPU: under Triton's interpreter, and on a device where there is one.

Tests that need a device are marked `gpu`. Without one, the kernels run on the CPU by Triton's interpreter, which
rounds each operation on its own, and are compiled for a device, where no fused multiply-add may be left.
"""

import ctypes
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.interpreted import HAS_TRITON, check_interpreted, needs_interpreter

from quadrat.strategies.diversity import (
    CoreSet,
    Diversification,
    EntropyFeature,
    EntropyFeatureSpatial,
    EntropySpatial,
    FeatureSpatial,
)
from quadrat.strategies.greedy import cuda
from quadrat.strategies.greedy.engine import maximise, maximise_reference
from quadrat.strategies.greedy.lazy import maximise_lazily
from quadrat.strategies.pool import Pool

pytestmark = pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed")

WITH_FEATURES: list[type[Diversification]] = [CoreSet, FeatureSpatial, EntropyFeature, EntropyFeatureSpatial]


def hard_pool(kind: str, num_images: int = 2, num_features: int = 11, labelled: float = 0.2) -> Pool:
    """A pool of 12 regions an image: with ties, duplicates, or far from 0."""
    rng = np.random.default_rng(0)
    num_regions = 12 * num_images
    cell = np.arange(num_regions) % 12
    normal = rng.standard_normal((num_regions, num_features), np.float32)
    features = {
        "normal": normal,
        "ties": rng.integers(0, 3, normal.shape).astype(np.float32),
        "far from 0": 100 + normal / 1000,
        "duplicates": np.repeat(normal[: num_regions // 3], 3, axis=0),
        "one point": np.ones_like(normal),
    }[kind]
    return Pool(
        image=np.arange(num_regions) // 12,
        row=cell // 4,
        col=cell % 4,
        pixels=np.ones(num_regions, int),
        labelled=rng.random(num_regions) < labelled,
        signals={"entropy": rng.integers(0, 4, num_regions).astype(np.float32)},
        features=features.astype(np.float32),
    )


def check_small_pools(device: str) -> None:
    """Compare with the reference over several batches, all kinds of pools and terms, to the last region."""
    for kind, family, labelled, num_features in (
        ("normal", EntropyFeatureSpatial, 0.2, 11),
        ("ties", FeatureSpatial, 0.0, 3),
        ("ties", EntropyFeature, 0.1, 9),
        ("far from 0", CoreSet, 0.2, 8),
        ("duplicates", EntropyFeature, 0.0, 1),
        ("one point", EntropyFeatureSpatial, 0.1, 2),
    ):
        pool = hard_pool(kind, num_features=num_features, labelled=labelled)
        objective = family().objective(pool, np.random.default_rng(0))
        check_equal(objective, int((~pool.labelled).sum()), device)


def check_equal(objective: Any, budget: int, device: str) -> None:
    from quadrat.strategies.greedy.device import maximise_on_device

    found, expected = maximise_on_device(objective, budget, device), maximise_reference(objective, budget)
    np.testing.assert_array_equal(found.regions, expected.regions)
    np.testing.assert_array_equal(found.potential, expected.potential)


def check_sums(device: str, sizes: Sequence[int]) -> None:
    """Compare the order of additions with numpy: fewer than 8 numbers, with a rest, and halves of different length."""
    from quadrat.strategies.greedy import device as engine

    for num_features in sizes:
        assert engine.adds_like_numpy(num_features, device), num_features


def with_small_sizes() -> None:
    """Make several batches and products of every small pool."""
    from quadrat.strategies.greedy import device as engine

    for name, size in {"_BATCH": 8, "_PRODUCT": 120, "_NEW": 5, "_MEMBERS": 15, "_TILE": 16, "_STAGED": 96}.items():
        setattr(engine, name, size)


CODE = """
import test_device
test_device.check_sums("cpu", (1, 7, 8, 9, 128, 300))
from quadrat.strategies.greedy import device
device.compile_kernels(3, "cpu")
test_device.with_small_sizes()
test_device.check_small_pools("cpu")
"""


@pytest.mark.slow
@needs_interpreter
def test_the_interpreted_kernels_equal_the_reference_bit_for_bit() -> None:
    check_interpreted(CODE, Path(__file__).parent)


@pytest.mark.slow
def test_compiled_kernels_round_every_operation_on_its_own() -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from quadrat.strategies.greedy import device_kernels as kernels

    types = {"product_NM": "*fp32", "limit_N": "*fp32", "left_DN": "*fp32", "right_DM": "*fp32", "member_DS": "*fp32"}
    types |= dict.fromkeys(("region_N", "floor_region", "position_K", "count"), "*i64")
    parts = {
        kernels.squared_distance_kernel: {"D": 64, "BN": 32, "BM": 32},
        kernels.lower_to_nearest_kernel: {"D": 64, "BLOCK": 128},
        kernels.select_kernel: {"HAS_SPATIAL": True, "BLOCK": 2048},
    }
    for kernel, constants in parts.items():
        names = list(inspect.signature(kernel.fn).parameters)
        numbers = {"eight", *(name for name in names if name.startswith("num_")), "member_stride", "budget"}
        signature = {
            name: "constexpr" if name in constants else "i32" if name in numbers else types.get(name, "*fp64")
            for name in names
        }
        source = ASTSource(kernel, signature, constants, {})
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(kernels.EXACT))
        assert "mul.rn.f64" in compiled.asm["ptx"]
        assert "fma.rn.f64" not in compiled.asm["ptx"]
    assert "sqrt.rn.f64" in compiled.asm["ptx"] and "div.rn.f64" in compiled.asm["ptx"]


def test_small_pools_and_machines_without_a_driver_use_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = CoreSet().objective(hard_pool("normal"), np.random.default_rng(0))
    monkeypatch.setattr(cuda, "_has_device", lambda: pytest.fail("a small pool asks for a device"))
    assert not cuda.runs_on_device(objective, 3)
    monkeypatch.setattr(cuda, "_LEAST_REGIONS", 1)
    monkeypatch.setattr(cuda, "_has_device", lambda: False)
    assert not cuda.runs_on_device(objective, 3)


@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_a_machine_with_a_driver_and_without_torch_or_triton_uses_the_cpu(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(ctypes, "CDLL", loaded.append)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    cuda._has_device.cache_clear()
    assert cuda._has_device() is False and loaded == ["libcuda.so.1"]
    cuda._has_device.cache_clear()


@pytest.mark.parametrize(
    ("is_exact", "has_memory"), [(False, True), (True, False), (RuntimeError("no C compiler"), True), (True, True)]
)
def test_another_order_of_additions_too_little_memory_or_no_compiler_leads_to_the_cpu(
    is_exact: bool | RuntimeError, has_memory: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from quadrat.strategies.greedy import device

    def adds_like_numpy(num_features: int) -> bool:
        if isinstance(is_exact, RuntimeError):
            raise is_exact
        return is_exact

    works = is_exact is True and has_memory
    objective = CoreSet().objective(hard_pool("normal"), np.random.default_rng(0))
    monkeypatch.setattr(cuda, "_LEAST_REGIONS", 1)
    monkeypatch.setattr(cuda, "_has_device", lambda: True)
    monkeypatch.setattr(device, "adds_like_numpy", adds_like_numpy)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1 << 40 if has_memory else 1, 1 << 40))
    cuda._is_exact.cache_clear()
    assert cuda.runs_on_device(objective, 3) is works
    cuda._is_exact.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (not works)


def test_kernels_are_compiled_where_a_selection_will_run_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from quadrat.strategies.greedy import device

    compiled: list[int] = []
    monkeypatch.setattr(device, "compile_kernels", compiled.append)
    monkeypatch.setattr(cuda, "_LEAST_REGIONS", 24)
    monkeypatch.setattr(cuda, "_has_device", lambda: True)
    monkeypatch.setattr(cuda, "_is_exact", lambda num_features: True)
    EntropyFeature(pca_dim=5).load_engine(hard_pool("normal"))
    EntropyFeature(pca_dim=None).load_engine(hard_pool("normal"))
    EntropySpatial().load_engine(hard_pool("normal"))
    EntropyFeature().load_engine(hard_pool("normal", num_images=1))
    assert compiled == [5, 11]


@pytest.mark.gpu
def test_the_sums_on_a_device_are_those_of_numpy() -> None:
    check_sums("cuda", (1, 7, 9, 128, 140))  # 300 take long to compile


@pytest.mark.gpu
def test_small_pools_on_a_device_equal_the_reference_bit_for_bit() -> None:
    check_small_pools("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("family", WITH_FEATURES)
@pytest.mark.parametrize("labelled", [0.05, 0.0])
def test_a_large_pool_on_a_device_equals_the_engine_of_the_cpu(family: type[Diversification], labelled: float) -> None:
    pool = hard_pool("normal", num_images=50_000 // 12, num_features=128, labelled=labelled)
    objective, budget = family().objective(pool, np.random.default_rng(0)), 3000
    assert cuda.runs_on_device(objective, budget)
    found, expected = maximise(objective, budget), maximise_lazily(objective, budget)
    np.testing.assert_array_equal(found.regions, expected.regions)
    np.testing.assert_array_equal(found.potential, expected.potential)
