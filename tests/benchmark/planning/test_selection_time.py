"""`quadrat bench select`: what it reports, never how fast it is."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from quadrat.benchmark.planning.selection_time import bench_select, read_pool, synthetic_pool, write_pool
from quadrat.cluster.cli.main import cli
from quadrat.strategies import StrategyError


@pytest.fixture(scope="module")
def pool():
    return synthetic_pool(num_regions=128 * 8, num_features=8, num_labelled=40)


def test_every_row_has_the_whole_budget_and_its_ratio_to_both_plain_loops(pool):
    names = ("entropy", "entropy-spatial", "core-set")
    result = bench_select(pool, strategies=names, budget=50, plain_picks=3, reference_picks=2, repeats=2)
    rows = {row["strategy"]: row for row in result["rows"]}
    assert [row["picks"] for row in result["rows"]] == [50, 50, 50]
    assert not [key for key in rows["entropy"] if "ratio" in key]
    for loop in ("plain", "reference"):
        for name in ("entropy-spatial", "core-set"):
            row = rows[name]
            total = row[f"{loop}_search_s"] + row[f"{loop}_loop_s"]
            assert row[f"{loop}_ratio"] == pytest.approx(total / row["seconds"], rel=0.02)
        core_set = rows["core-set"]
        expected = core_set[f"{loop}_loop_s"] / core_set["loop_s"]
        assert core_set[f"{loop}_ratio_loop"] == pytest.approx(expected, rel=0.02)
        assert f"{loop}_ratio_loop" not in rows["entropy-spatial"]  # its search is no separate step
    assert result["repeats"] == 2


def test_the_reference_can_be_left_out(pool):
    [row] = bench_select(pool, strategies=["core-set"], budget=5, plain_picks=1, reference_picks=0)["rows"]
    assert "plain_ratio" in row and "reference_ratio" not in row


@pytest.mark.parametrize("num_labelled", [0, 1, 2])
def test_hardly_anything_labelled_is_measured_too(num_labelled):
    few = synthetic_pool(num_regions=256, num_features=4, num_labelled=num_labelled)
    result = bench_select(few, strategies=["core-set", "entropy-spatial"], budget=3, plain_picks=1, reference_picks=1)
    assert [row["picks"] for row in result["rows"]] == [3, 3]


def test_the_synthetic_pool_is_the_same_for_the_same_seed(pool):
    again = synthetic_pool(num_regions=128 * 8, num_features=8, num_labelled=40)
    np.testing.assert_array_equal(pool.features, again.features)
    np.testing.assert_array_equal(pool.signals["entropy"], again.signals["entropy"])
    assert int(pool.labelled.sum()) == 40


def test_a_recorded_pool_reads_back_and_can_be_measured(pool, tmp_path):
    profiles = {"class-histogram": np.ones((pool.num_regions, 2), np.float32)}
    recorded = dataclasses.replace(pool, profiles=profiles)
    write_pool(tmp_path / "pool.npz", recorded)
    back = read_pool(tmp_path / "pool.npz")
    for name in ("image", "row", "col", "pixels", "labelled", "features"):
        np.testing.assert_array_equal(getattr(back, name), getattr(pool, name))
    np.testing.assert_array_equal(back.signals["entropy"], pool.signals["entropy"])
    arguments = ["bench", "select", "--pool", str(tmp_path / "pool.npz"), "--budget", "5", "--strategy", "ripu"]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["pool"]["num_regions"] == pool.num_regions


def test_a_file_that_is_no_pool_is_refused(tmp_path):
    np.savez(tmp_path / "pool.npz", image=np.zeros(3, int))
    with pytest.raises(StrategyError, match="expected a pool that write_pool recorded, found no array 'col'"):
        read_pool(tmp_path / "pool.npz")


def test_the_command_prints_one_json_object():
    arguments = ["bench", "select", "--regions", "256", "--features", "4", "--labelled", "9", "--budget", "5"]
    done = CliRunner().invoke(cli, [*arguments, "--strategy", "entropy-spatial", "--plain-picks", "1", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert result["pool"]["num_regions"] == 256
    assert [row["strategy"] for row in result["rows"]] == ["entropy-spatial"]
