"""Every shipped strategy selects the regions of tests/golden/selections.json, and float noise can't change them.

A change of that file is a change of what is computed: say why in the commit. To write it again:

    PYTHONPATH=tests .venv/bin/python tests/strategies/test_golden_selections.py
"""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.paths import GOLDEN

from quadrat.strategies import OracleStrategy, Pool, Selection, Truth, available, load

SELECTIONS = GOLDEN / "selections.json"
BUDGET = 12

# Parameters beside the defaults: one case for each code path that the defaults don't take.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "entropy-spatial of neighbours that share a border": ("entropy-spatial", {"distance": "adjacency"}),
    "prob-cover of one radius": ("prob-cover", {"radius": 0.5}),
    "max-herding of a small bandwidth": ("max-herding", {"bandwidth": 0.5}),
    "core-set on principal components": ("core-set", {"pca_dim": 4}),
    "entropy-feature max-sum": ("entropy-feature", {"set_function": "max-sum"}),
    "entropy-spatial max-sum linear": ("entropy-spatial", {"set_function": "max-sum", "distance": "linear"}),
    "entropy-spatial linear distance": ("entropy-spatial", {"distance": "linear", "norm": 1}),
    "entropy-feature normalised at every step": ("entropy-feature", {"norm_schedule": "step", "w_feature": 4.0}),
    "k-means-plus-plus of the most uncertain": ("k-means-plus-plus", {"uncertainty": "entropy", "top": 2.0}),
    # Two clusters that lie far apart: any start of k-means ends in them, so another faiss selects the same.
    "typiclust": ("typiclust", {"max_clusters": 2}),
}
# It returns what it reads from a file: tests/strategies/test_replay.py.
ELSEWHERE = {"precomputed"}


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return name of the case -> strategy and parameters: every shipped strategy once, then the variants."""
    shipped = {name for name, plugin in available().items() if plugin.distribution == "quadrat"}
    return {name: (name, {}) for name in sorted(shipped - ELSEWHERE)} | VARIANTS


def golden_pool() -> tuple[Pool, Truth]:
    """Return 6 images of 4 x 5 regions, a fifth of them labelled, features in two clusters of 80 and 40."""
    rng = np.random.default_rng(2021)
    num_regions, num_classes = 120, 5
    cell = np.arange(num_regions) % 20
    cluster = (np.arange(num_regions) % 3 == 0).astype(np.float32)
    signals = ("entropy", "margin", "bvsb", "least-confidence", "mc-entropy", "bald", "vote-entropy")
    profiles = ("class-histogram", "class-probability", "class-entropy", "class-bvsb")

    def shares() -> NDArray[np.float32]:
        return rng.dirichlet(np.ones(num_classes), num_regions).astype(np.float32)

    pool = Pool(
        image=np.arange(num_regions) // 20,
        row=cell // 5,
        col=cell % 5,
        pixels=np.full(num_regions, 256),
        labelled=np.arange(num_regions) % 5 == 2,
        signals={
            **{name: rng.random(num_regions, np.float32) for name in signals},
            # of its own generator: the other arrays are those of the first version of the file
            "ensemble-entropy": np.random.default_rng(8).random(num_regions, np.float32),
            "predicted-clicks": rng.integers(1, 30, num_regions).astype(np.float32),
        },
        features=rng.standard_normal((num_regions, 8), np.float32) + 20.0 * cluster[:, None],
        profiles={
            **{name: shares() for name in profiles},
            "gradient-embedding": rng.standard_normal((num_regions, 20), np.float32),
            # of its own generator, for the same reason
            "class-soft-entropy": np.random.default_rng(7).dirichlet(np.ones(5), num_regions).astype(np.float32),
        },
    )
    return pool, Truth(class_shares=shares(), errors=rng.random(num_regions, np.float32))


def select(name: str, params: dict[str, Any], pool: Pool, truth: Truth) -> Selection:
    strategy, rng = load(name, **params), np.random.default_rng(0)
    if isinstance(strategy, OracleStrategy):
        return strategy.select(pool, BUDGET, rng, truth)
    return strategy.select(pool, BUDGET, rng)


def with_noise(pool: Pool, truth: Truth, seed: int) -> tuple[Pool, Truth]:
    """Return the arrays with relative noise of 1e-5, a hundred times the rounding of a float32."""
    rng = np.random.default_rng(seed)

    def noisy(array: NDArray[np.float32] | None) -> NDArray[np.float32]:
        assert array is not None
        return np.asarray(array * (1.0 + 1e-5 * rng.uniform(-1.0, 1.0, array.shape)), np.float32)

    return dataclasses.replace(
        pool,
        signals={name: noisy(array) for name, array in pool.signals.items()},
        features=noisy(pool.features),
        profiles={name: noisy(array) for name, array in pool.profiles.items()},
    ), Truth(class_shares=noisy(truth.class_shares), errors=noisy(truth.errors))


def golden() -> dict[str, Any]:
    selections: dict[str, Any] = json.loads(SELECTIONS.read_text(encoding="utf-8"))["selections"]
    return selections


def test_every_shipped_strategy_has_a_golden_selection() -> None:
    assert set(golden()) == set(cases())


@pytest.mark.parametrize("case", cases())
def test_the_selection_is_the_golden_one(case: str) -> None:
    name, params = cases()[case]
    assert golden()[case] == {
        "strategy": name,
        "params": params,
        "regions": select(name, params, *golden_pool()).regions.tolist(),
    }


@pytest.mark.parametrize("case", cases())
def test_float_noise_does_not_change_the_selection(case: str) -> None:
    name, params = cases()[case]
    expected = golden()[case]["regions"]
    for seed in range(5):
        assert select(name, params, *with_noise(*golden_pool(), seed)).regions.tolist() == expected


def write() -> None:
    """Write the golden file, one case a line."""
    pool, truth = golden_pool()
    lines = []
    for case, (name, params) in cases().items():
        regions = select(name, params, pool, truth).regions.tolist()
        entry = {"strategy": name, "params": params, "regions": regions}
        lines.append(f"  {json.dumps(case)}: {json.dumps(entry)}")
    note = (
        f"The {BUDGET} regions that each strategy selects from golden_pool() of "
        "tests/strategies/test_golden_selections.py with seed 0; that file says how to write this one. First made with "
        "the version before the folders and names of 0.1, whose selections these must stay; typiclust: since it drops "
        "small clusters as its authors do."
    )
    body = ",\n".join(lines)
    SELECTIONS.write_text(f'{{\n "note": {json.dumps(note)},\n "selections": {{\n{body}\n }}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    write()
