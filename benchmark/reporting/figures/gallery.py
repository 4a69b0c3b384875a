"""Selected regions drawn over a few images of the pool, the same images for every strategy (the paper's figure 3).

An image is stored in the page once, as JPEG; the regions are SVG paths over it, one per round, so that seeds and rounds
can be switched without another picture.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.data.shapes import RegionMap
from quadrat.benchmark.reporting.figures.pictures import (
    MAX_SEEDS,
    Unavailable,
    class_palette,
    open_maps,
    paths_in_image,
    photo_uri,
    truth_uri,
)
from quadrat.benchmark.results.trials import Results, Trial
from quadrat.strategies.selection_file import SelectionFile

__all__ = ["Drawing", "Gallery", "Picture", "choose_images", "draw_gallery"]

NUM_IMAGES = 4
_MIN_COLUMNS, _MAX_COLUMNS = 4, 6


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image of the pool.

    Attributes:
        index: Its number in the pool.
        id: Its name.
        width: In pixels of the pool.
        height: In pixels of the pool.
        uri: The image as a data URI: faded, and scaled down when it is large.
        truth_uri: Its ground truth as a data URI, small.
    """

    index: int
    id: str
    width: int
    height: int
    uri: str
    truth_uri: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The regions that one strategy selected in one image with one seed.

    Attributes:
        label: The strategy.
        seed: The seed.
        picture: Index into `Gallery.pictures`.
        paths: Round -> SVG path in pixels of the pool; rounds that select none in the image are left out.
        num_regions: Regions selected in the image over all rounds; None when the trial has no selection.
    """

    label: str
    seed: int
    picture: int
    paths: Mapping[int, str]
    num_regions: int | None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures and the regions selected in them.

    Attributes:
        pictures: In pool order.
        labels: Strategies in suite order.
        seeds: Seeds that have selections and are shown.
        num_rounds: Rounds to show.
        drawings: One for every label, seed and picture, in that order, so that a place in the page is a strategy.
        num_left_out: Seeds of the suite beyond those that are shown, see `MAX_SEEDS`.
    """

    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    num_rounds: int
    drawings: tuple[Drawing, ...]
    num_left_out: int = 0

    @property
    def num_columns(self) -> int:
        """Figures side by side on a wide page: ground truth and strategies in as few rows, as even as possible."""
        num = 1 + len(self.labels)
        num_rows = math.ceil(num / _MAX_COLUMNS)
        return max(_MIN_COLUMNS, math.ceil(num / num_rows))


def draw_gallery(
    results: Results,
    selections: Mapping[str, Mapping[int, SelectionFile]],
    pool: PackedSplit | Unavailable,
    num_images: int = NUM_IMAGES,
) -> Gallery | Unavailable:
    """Return the gallery, or why the selected regions can't be drawn.

    Args:
        results: The results folder.
        selections: Trial id -> round -> selected regions, see `read_selections`.
        pool: The packed pool, or why it is not there.
        num_images: How many images.
    """
    if not selections:
        return Unavailable(reason="There are no selections in the results folder, so no regions can be drawn.")
    if isinstance(pool, Unavailable):
        return Unavailable(reason=pool.reason)
    chosen = choose_images(_counts(selections.values(), len(pool.ids)), num_images)
    rounds = [round_ for by_round in selections.values() for round_ in by_round]
    seeds = {trial.seed for trial in results.trials if trial.trial_id in selections}
    trials = [trial for trial in results.trials if not trial.is_full_supervision and trial.seed in seeds]
    palette, maps = class_palette(results), open_maps(results, pool)
    return Gallery(
        pictures=tuple(_picture(pool, index, palette) for index in chosen),
        labels=tuple(dict.fromkeys(trial.label for trial in trials)),
        seeds=tuple(dict.fromkeys(trial.seed for trial in trials)),
        num_left_out=max(0, len(results.seeds) - MAX_SEEDS),
        num_rounds=max(rounds) + 1,
        drawings=tuple(
            _drawing(trial, selections.get(trial.trial_id), pool, maps.get(trial.trial_id), index, place)
            for trial in trials
            for place, index in enumerate(chosen)
        ),
    )


def _counts(selections: Iterable[Mapping[int, SelectionFile]], num_images: int) -> npt.NDArray[np.int64]:
    """Return int64 (N,): regions selected in each image over all trials, without the shared round 0 where possible."""
    counts = np.zeros(num_images, dtype=np.int64)
    first = np.zeros(num_images, dtype=np.int64)
    for by_round in selections:
        for round_, found in by_round.items():
            target = counts if round_ > 0 else first
            target += np.bincount(found.image, minlength=num_images)
    return counts if counts.any() else first


def choose_images(counts: npt.NDArray[np.int64], num: int) -> list[int]:
    """Return up to `num` images: the pool is cut into `num` runs of neighbours, and each gives the one selected most.

    Pools are often video, where neighbours look alike; runs keep the pictures apart. Ties go to the first.

    Args:
        counts: int64 (N,), regions selected in each image.
        num: How many images.

    Examples:
        >>> choose_images(np.array([0, 9, 8, 0, 1, 0]), 2)
        [1, 4]
    """
    runs = np.array_split(np.arange(len(counts)), min(num, len(counts)))
    best = [int(run[counts[run].argmax()]) for run in runs]
    return [index for index in best if counts[index] > 0]


def _drawing(
    trial: Trial,
    by_round: Mapping[int, SelectionFile] | None,
    pool: PackedSplit,
    shapes: RegionMap | None,
    index: int,
    place: int,
) -> Drawing:
    height, width = pool.sizes[index].tolist()
    found = by_round or {}
    return Drawing(
        label=trial.label,
        seed=trial.seed,
        picture=place,
        paths=paths_in_image(found, index, height, width, shapes),
        num_regions=None if by_round is None else sum(int((one.image == index).sum()) for one in found.values()),
    )


def _picture(pool: PackedSplit, index: int, palette: list[tuple[int, int, int]]) -> Picture:
    height, width = pool.sizes[index].tolist()
    return Picture(
        index=index,
        id=pool.ids[index],
        width=width,
        height=height,
        uri=photo_uri(pool, index),
        truth_uri=truth_uri(pool, index, palette),
    )
