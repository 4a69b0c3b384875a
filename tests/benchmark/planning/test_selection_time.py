"""`quadrat bench select`: what it reports, never how fast it is."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from quadrat.benchmark.planning.selection_time import bench_select, jittered, read_pool, synthetic_pool, write_pool
from quadrat.cluster.cli.main import cli
from quadrat.strategies import Pool, StrategyError


@pytest.fixture(scope="module")
def pool() -> Pool:
    return synthetic_pool(num_regions=128 * 8, num_features=8, num_labelled=40)


def test_every_row_has_the_budget_and_its_ratio_to_both_baselines(pool: Pool) -> None:
    names = ("entropy", "entropy-spatial", "core-set")
    result = bench_select(pool, strategies=names, budget=50, baseline_steps=3, reference_steps=2, repeats=2)
    rows = {row["strategy"]: row for row in result["rows"]}
    assert [row["selected"] for row in result["rows"]] == [50, 50, 50]
    assert not [key for key in rows["entropy"] if "ratio" in key]
    for loop in ("baseline", "reference"):
        for name in ("entropy-spatial", "core-set"):
            row = rows[name]
            total = row[f"{loop}_search_s"] + row[f"{loop}_loop_s"]
            assert row[f"{loop}_ratio"] == pytest.approx(total / row["seconds"], rel=0.02)
        core_set = rows["core-set"]
        expected = core_set[f"{loop}_loop_s"] / core_set["loop_s"]
        assert core_set[f"{loop}_ratio_loop"] == pytest.approx(expected, rel=0.02)
        assert f"{loop}_ratio_loop" not in rows["entropy-spatial"]  # its search is not a separate step
    assert result["repeats"] == 2


def test_the_reference_can_be_left_out(pool: Pool) -> None:
    [row] = bench_select(pool, strategies=["core-set"], budget=5, baseline_steps=1, reference_steps=0)["rows"]
    assert "baseline_ratio" in row and "reference_ratio" not in row


@pytest.mark.parametrize("num_labelled", [0, 1, 2])
def test_few_labelled_regions_are_measured_too(num_labelled: int) -> None:
    few = synthetic_pool(num_regions=256, num_features=4, num_labelled=num_labelled)
    result = bench_select(
        few, strategies=["core-set", "entropy-spatial"], budget=3, baseline_steps=1, reference_steps=1
    )
    assert [row["selected"] for row in result["rows"]] == [3, 3]


def test_equal_seeds_give_equal_pools(pool: Pool) -> None:
    again = synthetic_pool(num_regions=128 * 8, num_features=8, num_labelled=40)
    assert pool.features is not None and again.features is not None
    np.testing.assert_array_equal(pool.features, again.features)
    np.testing.assert_array_equal(pool.signals["entropy"], again.signals["entropy"])
    assert int(pool.labelled.sum()) == 40


def test_a_written_pool_reads_back_and_can_be_measured(pool: Pool, tmp_path: Path) -> None:
    profiles = {"class-histogram": np.ones((pool.num_regions, 2), np.float32)}
    written = dataclasses.replace(pool, profiles=profiles)
    write_pool(tmp_path / "pool.npz", written)
    back = read_pool(tmp_path / "pool.npz")
    for name in ("image", "row", "col", "pixels", "labelled", "features"):
        np.testing.assert_array_equal(getattr(back, name), getattr(pool, name))
    np.testing.assert_array_equal(back.signals["entropy"], pool.signals["entropy"])
    arguments = ["bench", "select", "--pool", str(tmp_path / "pool.npz"), "--budget", "5", "--strategy", "ripu"]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["pool"]["num_regions"] == pool.num_regions


def test_a_jittered_pool_has_centres_near_the_cells_and_their_borders(pool: Pool) -> None:
    moved = jittered(pool, 0.2)
    assert not moved.has_cells and np.abs(moved.row - pool.row - 0.5).max() <= 0.2
    assert np.abs(moved.col - pool.col - 0.5).max() > 0.19
    assert moved.borders is not None and len(moved.borders) == 8 * (7 * 16 + 8 * 15)
    np.testing.assert_array_equal(jittered(pool, 0.2).row, moved.row)
    with pytest.raises(StrategyError, match="expected a pool of grid cells to move, got one of centres"):
        jittered(moved, 0.2)


def test_regions_of_any_shape_are_timed_beside_the_grid(pool: Pool, tmp_path: Path) -> None:
    moved = jittered(pool, 0.2)
    write_pool(tmp_path / "pool.npz", moved)
    back = read_pool(tmp_path / "pool.npz")
    for name in ("row", "col", "borders"):
        np.testing.assert_array_equal(getattr(back, name), getattr(moved, name))
    arguments = ["bench", "select", "--regions", "256", "--features", "4", "--labelled", "9", "--budget", "5"]
    done = CliRunner().invoke(cli, [*arguments, "--strategy", "feature-spatial", "--jitter", "0.2", "--json"])
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.output)["rows"]
    assert row["grid_factor"] == pytest.approx(row["seconds"] / row["grid_seconds"], rel=0.02)
    assert "grid_seconds" not in bench_select(pool, strategies=["entropy"], budget=5)["rows"][0]


def test_a_file_that_is_not_a_pool_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pool.npz", image=np.zeros(3, int))
    with pytest.raises(StrategyError, match="expected a pool that write_pool wrote, found no array 'col'"):
        read_pool(tmp_path / "pool.npz")


def test_the_command_prints_one_json_object() -> None:
    arguments = ["bench", "select", "--regions", "256", "--features", "4", "--labelled", "9", "--budget", "5"]
    done = CliRunner().invoke(cli, [*arguments, "--strategy", "entropy-spatial", "--baseline-steps", "1", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert result["pool"]["num_regions"] == 256
    assert [row["strategy"] for row in result["rows"]] == ["entropy-spatial"]
