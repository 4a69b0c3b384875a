"""Rounds of a few images side by side: selected regions, entropy and prediction (the paper's figure 4), for the script.

The maps come from the previews of the results folder and need neither store nor cache; photograph and ground truth come
from the packed pool and are left out where it is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quadrat.benchmark.data import PackedSplit
from quadrat.benchmark.data.shapes import RegionMap
from quadrat.benchmark.reporting.figures.pictures import (
    Unavailable,
    class_palette,
    classes_uri,
    grey_uri,
    open_maps,
    paths_in_image,
    photo_uri,
    truth_uri,
)
from quadrat.benchmark.results.previews import StoredPreview, previews_path, read_previews
from quadrat.benchmark.results.trials import Results, Trial
from quadrat.strategies.selection_file import SelectionFile

__all__ = ["RoundViewer", "draw_round_viewer"]


@dataclass(frozen=True, kw_only=True)
class RoundViewer:
    """The data that the script needs to lay out the maps of any strategy, round and image.

    Attributes:
        seed: The one seed that has previews.
        label: The strategy to begin with: entropy-spatial as in the paper's figure 4, or the first.
        labels: Strategies with previews in suite order, full supervision last.
        num_rounds: Rounds to choose from.
        images: Name, size, and data URIs of photograph and ground truth (None without the pool).
        maps: Data URIs; those of the shared round 0 are stored once.
        frames: One list per label, round and image: indices into `maps` of entropy and prediction, and the path of
            the regions selected in that round; None where there is no preview.
        classes: Names and colours of the classes, for the legend.
    """

    seed: int
    label: str
    labels: tuple[str, ...]
    num_rounds: int
    images: tuple[Mapping[str, Any], ...]
    maps: tuple[str, ...]
    frames: Mapping[str, Any]
    classes: tuple[tuple[str, str], ...]

    def for_script(self) -> dict[str, Any]:
        """Return it JSON-plain."""
        return {
            "images": list(self.images),
            "labels": list(self.labels),
            "maps": list(self.maps),
            "frames": dict(self.frames),
        }


class _Maps:
    """Data URIs by content, each once."""

    def __init__(self) -> None:
        self.uris: dict[str, int] = {}

    def place(self, uri: str) -> int:
        return self.uris.setdefault(uri, len(self.uris))


def draw_round_viewer(
    results: Results, selections: Mapping[str, Mapping[int, SelectionFile]], pool: PackedSplit | Unavailable
) -> RoundViewer | None:
    """Return the viewer, or None when the results folder has no previews.

    Args:
        results: The results folder.
        selections: Trial id -> round -> selected regions, see `read_selections`.
        pool: The packed pool, or why it is not there.

    Raises:
        ResultsError: When a previews file is damaged.
    """
    found: dict[str, dict[int, list[StoredPreview]]] = {}
    trials: list[Trial] = []
    for trial in results.trials:
        if (not trials or trial.seed == trials[0].seed) and (previews := _previews(results, trial)):
            found[trial.trial_id] = previews
            trials.append(trial)
    if not trials:
        return None
    seed = trials[0].seed
    trials.sort(key=lambda trial: trial.is_full_supervision)
    first = next(iter(found[trials[0].trial_id].values()))
    maps, palette, shapes = _Maps(), class_palette(results), open_maps(results, pool)
    frames = {
        trial.label: [
            _frames(
                found[trial.trial_id].get(round_, []),
                selections.get(trial.trial_id, {}),
                round_,
                maps,
                palette,
                shapes.get(trial.trial_id),
            )
            for round_ in range(max(found[trial.trial_id]) + 1)
        ]
        for trial in trials
    }
    return RoundViewer(
        seed=seed,
        label=next((trial.label for trial in trials if trial.strategy == "entropy-spatial"), trials[0].label),
        labels=tuple(frames),
        num_rounds=max(len(rounds) for rounds in frames.values()),
        images=tuple(_image(preview, pool, palette) for preview in first),
        maps=tuple(maps.uris),
        frames=frames,
        classes=tuple(
            (name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in zip(results.classes, palette, strict=True)
        ),
    )


def _previews(results: Results, trial: Trial) -> dict[int, list[StoredPreview]]:
    """Return round -> previews of its model, for the rounds of a trial that have any."""
    found = {
        record.round: read_previews(previews_path(results.path, trial.trial_id, record.round))
        for record in trial.records
    }
    return {round_: previews for round_, previews in found.items() if previews}


def _frames(
    previews: list[StoredPreview],
    selections: Mapping[int, SelectionFile],
    round_: int,
    maps: _Maps,
    palette: list[tuple[int, int, int]],
    shapes: RegionMap | None,
) -> list[dict[str, Any]]:
    return [
        {
            "entropy": maps.place(grey_uri(one.entropy)),
            "prediction": maps.place(classes_uri(one.predicted, palette)),
            "selected": paths_in_image(selections, one.image, one.height, one.width, shapes).get(round_, ""),
        }
        for one in previews
    ]


def _image(
    preview: StoredPreview, pool: PackedSplit | Unavailable, palette: list[tuple[int, int, int]]
) -> dict[str, Any]:
    size = {"width": preview.width, "height": preview.height}
    if isinstance(pool, Unavailable):
        return {"id": f"image {preview.image} of the pool", **size, "photo": None, "truth": None}
    return {
        "id": pool.ids[preview.image],
        **size,
        "photo": photo_uri(pool, preview.image),
        "truth": truth_uri(pool, preview.image, palette),
    }
