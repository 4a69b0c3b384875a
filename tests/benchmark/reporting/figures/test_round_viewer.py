"""The round viewer: maps and selected regions of every round, with and without the packed pool."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.reporting.figures.pictures import Unavailable, open_pool, read_selections
from quadrat.benchmark.reporting.figures.round_viewer import RoundViewer, draw_round_viewer
from quadrat.benchmark.results.previews import fixed_images
from quadrat.benchmark.results.trials import read_results


def viewer_of(folder: Path) -> RoundViewer:
    results = read_results(folder)
    viewer = draw_round_viewer(results, read_selections(results), open_pool(results))
    assert viewer is not None
    return viewer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(
        tmp_path_factory.mktemp("viewer"),
        strategies=("random", "entropy-spatial"),
        seeds=(4, 1),
        budgets=(12, 24, 48),
        has_previews=True,
    )


def test_viewer_has_every_round_of_every_strategy_with_full_supervision_last(folder: Path) -> None:
    viewer = viewer_of(folder)
    assert (viewer.seed, viewer.label, viewer.labels) == (
        4,
        "entropy-spatial",
        ("random", "entropy-spatial", "full-supervision"),
    )
    assert [len(viewer.frames[label]) for label in viewer.labels] == [3, 3, 1]
    assert all(len(images) == len(viewer.images) == 4 for rounds in viewer.frames.values() for images in rounds)


def test_maps_of_equal_content_are_stored_once(folder: Path) -> None:
    viewer = viewer_of(folder)
    first = [viewer.frames[label][0][0]["prediction"] for label in ("random", "entropy-spatial")]
    assert first[0] == first[1]
    assert len(set(viewer.maps)) == len(viewer.maps)


def test_regions_of_a_frame_are_those_selected_in_its_round_and_image(folder: Path) -> None:
    viewer, selections = viewer_of(folder), read_selections(read_results(folder))
    index = fixed_images(12)[2]
    expected = int((selections["entropy-spatial-s4"][2].image == index).sum())
    assert viewer.frames["entropy-spatial"][2][2]["selected"].count("M") == expected > 0


@pytest.mark.slow
def test_maps_need_no_pool_and_the_page_says_that_photographs_are_absent(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("cache", "report"))
    viewer = viewer_of(bare)
    assert [(image["photo"], image["truth"]) for image in viewer.images] == [(None, None)] * 4
    assert viewer.frames == viewer_of(folder).frames
    html = write_report(bare).read_text(encoding="utf-8")
    assert "Photographs and ground truth are absent" in html and 'id="viewer"' in html
    data = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.S)
    assert data is not None
    assert json.loads(data.group(1))["labels"] == list(viewer.labels)


def test_pool_is_found_by_its_fingerprint_in_the_cache_of_another_run(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("cache", "report"))
    moved = tmp_path / "elsewhere" / "packed" / "another-name"
    (packed,) = (path.parent for path in (folder / "cache" / "packed").glob("*/meta.json"))
    shutil.copytree(packed, moved)
    results = read_results(bare)
    found = open_pool(results, tmp_path / "elsewhere")
    assert isinstance(found, PackedSplit) and found.path == moved
    assert isinstance(open_pool(results, tmp_path), Unavailable)


def test_results_without_previews_have_no_viewer_and_the_page_says_why(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, strategies=("random",), seeds=(0,), budgets=(12, 24))
    results = read_results(folder)
    assert draw_round_viewer(results, read_selections(results), open_pool(results)) is None
    assert "There are no maps of entropy and prediction" in write_report(folder).read_text(encoding="utf-8")
