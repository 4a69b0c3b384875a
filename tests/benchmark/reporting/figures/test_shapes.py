"""Regions that are not squares are drawn by their true border: on the page and in MLflow's pictures."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.data.shapes import RegionMap
from quadrat.benchmark.reporting.figures.pictures import Unavailable, open_maps, open_pool, paths_in_image
from quadrat.benchmark.results.selections import Selections, selection_path, write_selection
from quadrat.benchmark.results.trials import Results, read_results
from quadrat.benchmark.tracking.pictures import draw_selections
from quadrat.benchmark.trial.context import TrialContext
from quadrat.strategies import Selection


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Return a folder with one selection of ten superpixels, and nothing trained."""
    suite = Suite.model_validate({**TINY_SUITE, "strategies": [{"name": "random", "regions": "slic"}]})
    context = TrialContext.open(suite, tmp_path)
    context.prepare_results()
    (spec,) = suite.trials()
    layout = context.data.layout(16, spec.regions)
    picked = np.random.default_rng(0).permutation(layout.num_regions)[:10]
    write_selection(selection_path(tmp_path, spec.trial_id, 0), Selection.of(picked), layout)
    return read_results(tmp_path)


def drawn(path: str, height: int, width: int) -> np.ndarray:
    """Return the pixels inside an SVG path of closed lines along pixel sides, bool (height, width)."""
    crossings = np.zeros((height, width + 1), dtype=int)
    for line in path.split("z")[:-1]:
        match = re.match(r"M(\d+),(\d+)", line)
        assert match is not None
        x, y = start = int(match[1]), int(match[2])
        for way, length in [*re.findall(r"([hv])(-?\d+)", line), ("end", "0")]:
            step = int(length) if way != "end" else start[1] - y
            if way != "h":
                crossings[min(y, y + step) : max(y, y + step), x] += 1
                y += step
            else:
                x += int(length)
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1


def test_paths_enclose_the_pixels_of_the_selected_regions(results: Results) -> None:
    pool = open_pool(results)
    assert not isinstance(pool, Unavailable)
    (trial,) = results.trials
    shapes = open_maps(results, pool)[trial.trial_id]
    selection = Selections(results.path).read(trial.trial_id, 0)
    assert isinstance(shapes, RegionMap) and selection is not None and not selection.has_cells
    for index in np.unique(selection.image).tolist():
        (path,) = paths_in_image({0: selection}, index, 48, 64, shapes).values()
        np.testing.assert_array_equal(
            drawn(path, 48, 64), np.isin(shapes.window(index, 0, 0, 48, 64), selection.regions)
        )
        assert paths_in_image({0: selection}, index, 48, 64) == {}


def test_pictures_of_a_run_colour_the_pixels_of_the_selected_regions(results: Results) -> None:
    pool = open_pool(results)
    assert not isinstance(pool, Unavailable)
    (trial,) = results.trials
    shapes = open_maps(results, pool)[trial.trial_id]
    (picture,) = draw_selections(results.path, trial.trial_id, 1, pool, shapes)
    none = Selection.of(np.empty(0, dtype=np.int64))
    write_selection(selection_path(results.path, trial.trial_id, 0), none, shapes)
    (without,) = draw_selections(results.path, trial.trial_id, 1, pool, shapes)
    assert (np.asarray(picture.image) != np.asarray(without.image)).any()


def test_a_map_that_is_gone_or_another_is_said(results: Results) -> None:
    pool = open_pool(results)
    assert not isinstance(pool, Unavailable)
    path = results.path / "suite.json"
    described = json.loads(path.read_text())
    described["dataset"]["pool"]["maps"][0]["digest"] = "0" * 32
    path.write_text(json.dumps(described))
    other = open_pool(read_results(results.path))
    assert isinstance(other, Unavailable) and "not those that these results were computed on" in other.reason
    (folder,) = pool.path.glob("regions-slic-*")
    folder.rename(folder.with_name("gone"))
    gone = open_pool(results)
    assert isinstance(gone, Unavailable) and "no packed region map" in gone.reason
