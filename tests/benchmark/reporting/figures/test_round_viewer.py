"""Rounds side by side: what the script is given of the maps, with and without the pool at hand."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.reporting import write_report
from quadrat.benchmark.reporting.figures.outlines import read_picks
from quadrat.benchmark.reporting.figures.pictures import NoPool, open_pool
from quadrat.benchmark.reporting.figures.round_viewer import Film, draw_film
from quadrat.benchmark.results.previews import fixed_images
from quadrat.benchmark.results.trials import read_results


def film_of(folder: Path) -> Film | None:
    results = read_results(folder)
    return draw_film(results, read_picks(results), open_pool(results))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_fake_results(
        tmp_path_factory.mktemp("film"),
        strategies=("random", "entropy-spatial"),
        seeds=(4, 1),
        budgets=(12, 24, 48),
        has_previews=True,
    )


def test_film_shows_every_round_of_every_strategy_with_full_supervision_last(folder):
    film = film_of(folder)
    assert film is not None
    assert (film.seed, film.label, film.labels) == (
        4,
        "entropy-spatial",
        ("random", "entropy-spatial", "full-supervision"),
    )
    assert [len(film.frames[label]) for label in film.labels] == [3, 3, 1]
    assert all(len(images) == len(film.images) == 4 for rounds in film.frames.values() for images in rounds)


def test_maps_of_equal_content_are_stored_once(folder):
    film = film_of(folder)
    first = [film.frames[label][0][0]["prediction"] for label in ("random", "entropy-spatial")]
    assert first[0] == first[1]
    assert len(set(film.maps)) == len(film.maps)


def test_picks_of_a_frame_are_those_of_its_round_in_its_image(folder):
    film, picks = film_of(folder), read_picks(read_results(folder))
    index = fixed_images(12)[2]
    expected = int((picks["entropy-spatial-s4"][2].image == index).sum())
    assert film.frames["entropy-spatial"][2][2]["picks"].count("M") == expected > 0


def test_maps_are_there_without_the_pool_and_photographs_are_said_to_be_absent(folder, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("cache", "report"))
    film = film_of(bare)
    assert [(image["photo"], image["truth"]) for image in film.images] == [(None, None)] * 4
    assert film.frames == film_of(folder).frames
    html = write_report(bare).read_text(encoding="utf-8")
    assert "Photographs and ground truth are absent" in html and 'id="film"' in html
    data = re.search(r'<script type="application/json" id="film-data">(.*?)</script>', html, re.S)
    assert json.loads(data.group(1))["labels"] == list(film.labels)


def test_pool_is_found_by_its_fingerprint_in_the_cache_of_another_run(folder, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("cache", "report"))
    moved = tmp_path / "elsewhere" / "packed" / "another-name"
    (packed,) = (path.parent for path in (folder / "cache" / "packed").glob("*/meta.json"))
    shutil.copytree(packed, moved)
    results = read_results(bare)
    found = open_pool(results, tmp_path / "elsewhere")
    assert isinstance(found, PackedSplit) and found.path == moved
    assert isinstance(open_pool(results, tmp_path), NoPool)


def test_results_without_previews_have_no_film_and_the_page_says_why(tmp_path):
    folder = write_fake_results(tmp_path, strategies=("random",), seeds=(0,), budgets=(12, 24))
    assert film_of(folder) is None
    assert "There are no maps of entropy and prediction" in write_report(folder).read_text(encoding="utf-8")
