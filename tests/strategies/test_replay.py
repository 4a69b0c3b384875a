"""Precomputed: the contract on a written selection, and its error messages."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadrat.strategies import Needs, Pool, StrategyError, load
from quadrat.strategies.selection_file import SelectionFile
from quadrat.strategies.testing import StrategyContract, example_pool


def publish(path: Path, pool: Pool, regions: list[int], potential: list[float] | None = None, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = SelectionFile(
        regions=np.array(regions),
        potential=np.array(potential or np.arange(len(regions), 0, -1), float),
        image=pool.image[regions],
        row=pool.row[regions],
        col=pool.col[regions],
        region_size=size,
    )
    path.write_bytes(file.to_bytes())


class TestPrecomputed(StrategyContract):
    name = "precomputed"
    any_shape = False  # a published grid

    @pytest.fixture(autouse=True)
    def published(self, tmp_path: Path) -> None:
        folder, pool = tmp_path / "published", self.pool() if self.any_shape else example_pool(Needs())
        publish(folder / "round-0.npz", pool, np.random.default_rng(3).permutation(pool.num_regions).tolist())
        self.params = {"folder": str(folder)}  # type: ignore[misc]  # another folder for each test


class TestPrecomputedOfAnyShape(TestPrecomputed):
    any_shape = True

    def pool(self, **options: Any) -> Pool:
        """Return regions of any shape, no two of one centre: those are found by their row numbers."""
        pool = example_pool(Needs(), **{**options, "any_shape": True})
        return dataclasses.replace(pool, row=pool.row + 1e-3 * (np.arange(pool.num_regions) % 2))

    def test_centres_that_are_whole_numbers_give_the_selection_of_the_grid(self) -> None:
        """They do not: a published selection is of the one or the other."""


def select(folder: Path, pool: Pool, budget: int) -> Any:
    return load("precomputed", folder=str(folder)).select(pool, budget, np.random.default_rng(0))


@pytest.fixture
def pool() -> Pool:
    return example_pool(Needs(), labelled=0.0)


def test_rounds_are_replayed_in_order_without_labelled_regions(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "round-2.npz", pool, [30, 4], [0.2, 0.1])
    publish(tmp_path / "round-10.npz", pool, [5, 6], [0.4, 0.3])
    assert select(tmp_path, pool, 3).regions.tolist() == [30, 4, 5]
    columns = {name: getattr(pool, name) for name in ("image", "row", "col", "pixels")}
    later = Pool(**columns, labelled=np.isin(np.arange(pool.num_regions), [30, 5]))
    selection = select(tmp_path, later, 2)
    assert selection.regions.tolist() == [4, 6] and selection.potential.tolist() == [0.1, 0.3]


def test_too_few_published_regions_are_refused(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "round-0.npz", pool, [1, 2])
    with pytest.raises(StrategyError, match=r"expected at least 3 regions of this pool in .* got 2"):
        select(tmp_path, pool, 3)


def test_a_folder_without_selections_is_refused(tmp_path: Path, pool: Pool) -> None:
    with pytest.raises(StrategyError, match=r"expected files round-<n>\.npz in .* got none"):
        select(tmp_path / "nowhere", pool, 1)
    with pytest.raises(StrategyError, match="precomputed: folder must be the path of a folder"):
        load("precomputed")


def test_a_folder_may_be_a_pattern_that_one_folder_matches(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "entropy-r16-s0-abc" / "round-0.npz", pool, [7, 8])
    publish(tmp_path / "entropy-r16-s1-def" / "round-0.npz", pool, [9])
    assert select(tmp_path / "entropy-r16-s0-*", pool, 2).regions.tolist() == [7, 8]
    with pytest.raises(StrategyError, match=r"expected one folder that matches .* got 2: entropy-r16-s0-abc, entropy"):
        select(tmp_path / "entropy-*", pool, 1)
    with pytest.raises(StrategyError, match=r"expected one folder that matches .* got 0; check folder"):
        select(tmp_path / "badge-*", pool, 1)


def test_a_folder_may_lie_in_a_zip_file(tmp_path: Path, pool: Pool) -> None:
    for trial, regions in (("entropy-s0-abc", [7, 8]), ("entropy-s1-def", [9])):
        publish(tmp_path / trial / "round-0.npz", pool, regions)
    with zipfile.ZipFile(tmp_path / "selections.zip", "w") as archive:
        for path in tmp_path.glob("*/*.npz"):
            archive.write(path, path.relative_to(tmp_path))
    for name in ("entropy-s0-abc", "entropy-s0-*"):
        assert select(tmp_path / "selections.zip" / name, pool, 2).regions.tolist() == [7, 8]
    with pytest.raises(
        StrategyError, match=r"one folder that matches .*selections\.zip/entropy-\*, got 2: entropy-s0-abc"
    ):
        select(tmp_path / "selections.zip" / "entropy-*", pool, 1)


def test_a_damaged_zip_file_is_refused(tmp_path: Path, pool: Pool) -> None:
    (tmp_path / "selections.zip").write_bytes(b"no zip file")
    with pytest.raises(StrategyError, match=r"selections\.zip: expected a zip file of selections, got .*check folder"):
        select(tmp_path / "selections.zip" / "entropy-s0-abc", pool, 1)


def test_a_trial_with_another_initial_set_is_refused(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "round-0.npz", pool, [1, 2])
    publish(tmp_path / "round-1.npz", pool, [3])
    columns = {name: getattr(pool, name) for name in ("image", "row", "col", "pixels")}
    same, other = (Pool(**columns, labelled=np.isin(np.arange(pool.num_regions), first)) for first in ([1, 2], [1, 9]))
    assert select(tmp_path, same, 1).regions.tolist() == [3]
    with pytest.raises(
        StrategyError, match=r"expected a trial that starts from the published round 0 .* got 1 labelled"
    ):
        select(tmp_path, other, 1)


def test_regions_are_found_by_the_exact_centre_and_those_of_one_centre_by_row_number(tmp_path: Path) -> None:
    pool = example_pool(Needs(), labelled=0.0, any_shape=True)
    assert pool.row[0] == pool.row[1] and pool.col[0] == pool.col[1]
    publish(tmp_path / "round-0.npz", pool, [1, 7, 0], size=32)  # regions of any shape have no one area
    order = np.concatenate([[0, 1], np.random.default_rng(0).permutation(np.arange(2, pool.num_regions))])
    columns = {name: getattr(pool, name)[order] for name in ("image", "row", "col", "pixels", "labelled")}
    assert select(tmp_path, pool, 3).regions.tolist() == [1, 7, 0]
    assert order[select(tmp_path, Pool(**columns), 3).regions].tolist() == [1, 7, 0]
    moved = Pool(**{**columns, "row": np.nextafter(columns["row"], 9)})
    with pytest.raises(StrategyError, match="expected at least 1 regions of this pool"):
        select(tmp_path, moved, 1)


def test_cells_are_not_replayed_on_centres(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "round-0.npz", pool, [1, 2])
    any_shape = example_pool(Needs(), labelled=0.0, any_shape=True)
    with pytest.raises(StrategyError, match=r"expected a selection of centres of regions .*, got cells of a grid in"):
        select(tmp_path, any_shape, 1)
    publish(tmp_path / "round-0.npz", any_shape, [1, 2])
    with pytest.raises(StrategyError, match="expected a selection of cells of a grid, as the pool has, got centres of"):
        select(tmp_path, pool, 1)


def test_the_digest_of_published_centres_depends_on_every_bit(tmp_path: Path) -> None:
    pool = example_pool(Needs(), any_shape=True)
    publish(tmp_path / "round-0.npz", pool, [1, 2])
    first = load("precomputed", folder=str(tmp_path)).contents()
    columns = {name: getattr(pool, name) for name in ("image", "col", "pixels", "labelled")}
    publish(tmp_path / "round-0.npz", Pool(**columns, row=np.nextafter(pool.row, 9)), [1, 2])
    assert load("precomputed", folder=str(tmp_path)).contents() != first


def test_a_selection_of_another_region_size_is_refused(tmp_path: Path, pool: Pool) -> None:
    publish(tmp_path / "round-0.npz", pool, [1, 2], size=32)
    with pytest.raises(StrategyError, match="expected a selection of regions of 256 px, got 1024 px"):
        select(tmp_path, pool, 1)


def test_a_file_that_is_not_a_selection_is_refused(tmp_path: Path, pool: Pool) -> None:
    np.savez(tmp_path / "round-0.npz", image=np.zeros(1))
    with pytest.raises(
        StrategyError, match=r"round-0\.npz: expected a selection with the arrays regions, .* got .*regions"
    ):
        select(tmp_path, pool, 1)
