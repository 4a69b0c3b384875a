"""The gallery: the same images for every strategy, with every selected region of an image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_results import STRATEGIES, write_fake_results

from quadrat.benchmark.reporting.figures import gallery as gallery_module
from quadrat.benchmark.reporting.figures import pictures
from quadrat.benchmark.reporting.figures.gallery import Gallery, choose_images, draw_gallery
from quadrat.benchmark.reporting.figures.pictures import Unavailable, cells_path, open_pool, read_selections
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


def gallery_of(folder: Path, num_images: int = 4) -> Gallery | Unavailable:
    results = read_results(folder)
    return draw_gallery(results, read_selections(results), open_pool(results), num_images)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_results(tmp_path_factory.mktemp("whole"))


def test_gallery_shows_the_same_images_for_every_strategy_and_seed(whole: Path) -> None:
    gallery = gallery_of(whole, num_images=3)
    assert isinstance(gallery, Gallery)
    assert gallery.labels == STRATEGIES
    places = {(drawing.label, drawing.seed, drawing.picture) for drawing in gallery.drawings}
    assert places == {(label, seed, picture) for label in STRATEGIES for seed in (0, 1, 2) for picture in range(3)}


def test_of_many_seeds_the_first_are_drawn_and_no_other_selection_is_read(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_SEEDS", 2)
    monkeypatch.setattr(gallery_module, "MAX_SEEDS", 2)
    assert {trial_id.rpartition("-")[2] for trial_id in read_selections(read_results(whole))} == {"s0", "s1"}
    found = gallery_of(whole)
    assert isinstance(found, Gallery) and (found.seeds, found.num_left_out) == ((0, 1), 1)


def test_gallery_draws_every_selected_region_of_an_image(whole: Path) -> None:
    gallery = gallery_of(whole)
    assert isinstance(gallery, Gallery)
    drawing = next(drawing for drawing in gallery.drawings if drawing.label == "entropy" and drawing.seed == 1)
    index = gallery.pictures[drawing.picture].index
    expected = sum(
        int((np.load(path)["image"] == index).sum()) for path in (whole / "selections" / "entropy-s1").glob("*.npz")
    )
    assert drawing.num_regions == expected
    assert sum(path.count("M") for path in drawing.paths.values()) == expected


def test_selected_regions_are_not_drawn_over_another_pool(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,))
    path = folder / "suite.json"
    described = json.loads(path.read_text())
    described["dataset"]["pool"]["fingerprint"] = "f" * 64
    path.write_text(json.dumps(described), encoding="utf-8")
    gallery = gallery_of(folder)
    assert isinstance(gallery, Unavailable)
    assert "not those that these results were computed from" in gallery.reason


def test_images_are_chosen_apart_from_each_other() -> None:
    counts = np.array([0, 9, 8, 8, 1, 0, 0, 0, 0])
    assert choose_images(counts, 3) == [1, 3]
    assert choose_images(counts, 20) == [1, 2, 3, 4]


def test_cells_are_clipped_at_the_border() -> None:
    assert cells_path([0, 3], [1, 5], 16, 60, 90) == "M16,0h16v16h-16zM80,48h10v12h-10z"


@pytest.mark.parametrize(
    ("num_strategies", "columns"), [(1, 4), (3, 4), (4, 5), (5, 6), (6, 4), (7, 4), (8, 5), (11, 6), (12, 5)]
)
def test_a_gallery_leaves_no_figure_alone_in_its_row(num_strategies: int, columns: int) -> None:
    """Ground truth and four strategies were four figures and one below; two rows are as even as possible."""
    labels = tuple(str(number) for number in range(num_strategies))
    gallery = Gallery(pictures=(), labels=labels, seeds=(0,), num_rounds=1, drawings=())
    assert gallery.num_columns == columns
