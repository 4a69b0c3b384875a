"""Plausible results folders for tests of the report: seeded numbers, real files, no training."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data import PackedSplit, RegionGrid, pack
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.scoring.preview import Preview
from quadrat.benchmark.results.failures import Failure, record_failure
from quadrat.benchmark.results.previews import fixed_images, pack_previews, previews_path
from quadrat.benchmark.results.records import Record, append_record
from quadrat.benchmark.results.selections import selection_path, write_selection
from quadrat.strategies import Selection

STRATEGIES = (
    "random",
    "entropy",
    "entropy-random",
    "core-set",
    "feature-spatial",
    "entropy-feature",
    "entropy-spatial",
    "entropy-feature-spatial",
)
GAIN = dict(zip(STRATEGIES, (0.0, 0.3, 0.2, -0.5, 0.35, 0.7, 1.1, 1.0), strict=True))
CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")


@dataclass(frozen=True, kw_only=True)
class _Item:
    id: str
    seed: int
    size: tuple[int, int]

    def read_image(self) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng(self.seed)
        rows = np.linspace(90, 200, self.size[0])[:, None, None]
        return np.clip(rows + rng.normal(0, 25, (*self.size, 3)), 0, 255).astype(np.uint8)

    def read_mask(self) -> npt.NDArray[np.uint8]:
        return np.zeros(self.size, dtype=np.uint8)

    def stamp(self) -> str:
        return str(self.seed)


@dataclass(frozen=True, kw_only=True)
class TinyPool:
    """A data set of noise, images of two sizes."""

    name: str = "tiny"
    classes: tuple[str, ...] = CLASSES
    num_images: int = 12
    colours: tuple[tuple[int, int, int], ...] = field(default_factory=lambda: ((0, 0, 0),) * len(CLASSES))

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def params(self) -> dict[str, Any]:
        return {"num_images": self.num_images}

    def items(self, split: str) -> Sequence[_Item]:
        sizes = ((64, 96), (70, 90))
        return [_Item(id=f"image-{i:02d}", seed=i, size=sizes[i % 2]) for i in range(self.num_images)]


def make_record(**changes: Any) -> Record:
    """Return a record of Random at round 0 with `changes`."""
    values: dict[str, Any] = {
        "suite": "fake",
        "trial_id": "random-s0",
        "label": "random",
        "strategy": "random",
        "params": {},
        "dataset": "tiny",
        "region_size": 16,
        "recipe": "0" * 16,
        "seed": 0,
        "round": 0,
        "regions": 10,
        "picked": 10,
        "labelled_px": 2560,
        "labelled_fraction": 0.04,
        "clicks": 60,
        "class_px": (200,) * len(CLASSES),
        "void_px": 0,
        "void_regions": 0,
        "images_opened": 5,
        "exhausted": False,
        "miou": 0.3,
        "iou": (0.3,) * len(CLASSES),
        "test_classes": len(CLASSES),
        "pixel_accuracy": 0.7,
        "steps": 100,
        "loss": 1.0,
        "picks_digest": "0" * 64,
        "seconds": {"select": 0.1, "fit": 10.0, "evaluate": 2.0, "score": 3.0},
    }
    return Record(**{**values, **changes})


def write_fake_results(
    folder: Path,
    *,
    strategies: Sequence[str] = STRATEGIES,
    seeds: Sequence[int] = (0, 1, 2),
    budgets: Sequence[int] = (12, 24, 48, 96),
    has_full_supervision: bool = True,
    absent: Sequence[int] = (),
    num_rounds: Mapping[tuple[str, int], int] | None = None,
    failed: Mapping[tuple[str, int], str] | None = None,
    pool: PackedSplit | None = None,
    has_pool: bool = True,
    has_previews: bool = False,
    region_size: int = 16,
    noise: float = 0.8,
) -> Path:
    """Write a results folder and return it.

    Args:
        folder: Where to.
        strategies: Labels, which are the registered names too.
        seeds: Seeds.
        budgets: Cumulative regions by round.
        has_full_supervision: Whether the suite has full supervision.
        absent: Classes without an IoU.
        num_rounds: (label, seed) -> rounds it has finished, where not all.
        failed: (label, seed) -> exception.
        pool: A packed pool to use; by default a tiny one inside `folder`.
        has_pool: Whether the packed pool is there, and selections with it.
        has_previews: Whether trials of the first seed have maps of entropy and prediction, of the size of CamVid's.
        region_size: Edge of a region.
        noise: Standard deviation over seeds, points of mIoU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed = pool or pack(TinyPool(), "train", folder / "cache")
    grid = RegionGrid(packed.sizes, region_size)
    total_px = int(packed.sizes.astype(np.int64).prod(axis=1).sum())
    num_rounds, failed = num_rounds or {}, failed or {}
    trials = []
    labels = (*(("full-supervision",) if has_full_supervision else ()), *strategies)
    for label in labels:
        for seed in seeds:
            trial_id = f"{label}-s{seed}"
            is_full = label == "full-supervision"
            planned = 1 if is_full else len(budgets)
            trials.append(
                {
                    "trial_id": trial_id,
                    "label": label,
                    "strategy": label,
                    "params": {},
                    "seed": seed,
                    "region_size": region_size,
                    "num_rounds": planned,
                }
            )
            selections = _selections(label, seed, grid, budgets)
            for round_ in range(num_rounds.get((label, seed), planned)):
                labelled = np.concatenate(selections[: round_ + 1])
                iou = _iou(label, seed, round_, noise, absent)
                present = [value for value in iou if value is not None]
                record = make_record(
                    trial_id=trial_id,
                    label=label,
                    strategy=label,
                    seed=seed,
                    round=round_,
                    region_size=region_size,
                    regions=grid.num_regions if is_full else len(labelled),
                    picked=grid.num_regions if is_full else len(selections[round_]),
                    labelled_px=total_px if is_full else int(grid.pixels[labelled].sum()),
                    labelled_fraction=1.0 if is_full else float(grid.pixels[labelled].sum() / total_px),
                    clicks=5 * (grid.num_regions if is_full else len(labelled)),
                    class_px=_class_px(label, total_px if is_full else int(grid.pixels[labelled].sum())),
                    images_opened=len(packed.ids) if is_full else len(np.unique(grid.image[labelled])),
                    miou=float(np.mean(present)),
                    iou=iou,
                    test_classes=len(present),
                    pixel_accuracy=0.72 + 0.04 * round_,
                    loss=1.2 / (round_ + 1),
                    seconds={
                        "select": 0.02 * (1 + len(label)) * 2**round_,
                        "fit": 60.0,
                        "evaluate": 9.0,
                        "score": 20.0,
                    },
                )
                append_record(folder, record)
                if has_previews and seed == seeds[0]:
                    _write_previews(folder, trial_id, round_, packed)
                if has_pool and not is_full:
                    selection = Selection.of(selections[round_], np.zeros(len(selections[round_])))
                    write_selection(selection_path(folder, trial_id, round_), selection, grid)
            if (label, seed) in failed:
                failure = Failure(
                    trial_id=trial_id,
                    label=label,
                    seed=seed,
                    round=num_rounds.get((label, seed), 0),
                    exception=failed[label, seed],
                    traceback=f"Traceback (most recent call last):\n  ...\n{failed[label, seed]}",
                )
                record_failure(folder, failure)
    suite = {
        "name": "fake",
        "description": "numbers that nobody measured",
        "dataset": {"name": "tiny", "pool": "train", "test": "test", "params": {}},
        "region_size": region_size,
        "budgets": list(budgets),
        "learner": Recipe(weights="packaged", frozen=True, iterations=300, crop=256).model_dump(mode="json"),
        "strategies": [{"name": label, "label": label, "params": {}} for label in strategies],
        "seeds": list(seeds),
    }
    inside = packed.path.is_relative_to(folder)
    split = {"fingerprint": packed.fingerprint, "num_images": len(packed.ids), "num_px": total_px}
    dataset = {
        "classes": list(CLASSES),
        "colours": [[0, 0, 0]] * len(CLASSES),
        "pool": split
        | {
            "path": str(packed.path.relative_to(folder) if inside else packed.path),
            "num_regions": {str(region_size): grid.num_regions},
        },
        "test": {**split, "path": "elsewhere"},
    }
    _write_json(folder / "suite.json", {"schema": 1, "suite": suite, "dataset": dataset, "trials": trials})
    environment = {
        "python": "3.11.0",
        "processor": "a processor",
        "cores": 2,
        "gpus": [],
        "packages": {"quadrat": "0.1.0", "torch": "2.11.0"},
        "commit": "0123456789abcdef",
        "command": "quadrat run fake",
    }
    _write_json(folder / "environment.json", environment)
    return folder


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _rng(*names: object) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(names).encode()).digest()))


def _iou(label: str, seed: int, round_: int, noise: float, absent: Sequence[int]) -> tuple[float | None, ...]:
    shared = _rng("shared", seed, round_).normal(0, noise / 100)
    own = _rng("own", label, seed, round_).normal(0, noise / 200) if round_ else 0.0
    gain = GAIN.get(label, 0.0) * min(round_, 3) / 100
    level = 0.53 if label == "full-supervision" else 0.30 + 0.19 * (1 - np.exp(-0.7 * round_)) + gain
    spread = np.linspace(0.35, -0.3, len(CLASSES))
    values = np.clip(level + shared + own + spread, 0, 1)
    return tuple(None if index in absent else float(value) for index, value in enumerate(values))


def _class_px(label: str, labelled_px: int) -> tuple[int, ...]:
    """Return pixels by class: more even for strategies that look at uncertainty; a tenth is void."""
    weights = np.linspace(3.0 if "entropy" in label else 6.0, 1.0, len(CLASSES))
    return tuple((0.9 * labelled_px * weights / weights.sum()).astype(int).tolist())


def _selections(label: str, seed: int, grid: RegionGrid, budgets: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Return the selection of each round; after the shared round 0 they cluster unless there is a spatial term."""
    order = _rng("initial", seed).permutation(grid.num_regions)
    selections = [order[: budgets[0]]]
    left = order[budgets[0] :]
    rng = _rng("selections", label, seed)
    for before, after in itertools.pairwise(budgets):
        if "spatial" in label or label == "random":
            weight = np.ones(len(left))
        else:
            weight = 1.0 / (1.0 + (grid.row[left] - grid.row[left].max() / 2) ** 2 + grid.image[left] % 5)
        size = min(after - before, len(left))
        chosen = rng.choice(len(left), size=size, replace=False, p=weight / weight.sum())
        selections.append(left[chosen])
        left = np.delete(left, chosen)
    return selections


def _write_previews(folder: Path, trial_id: str, round_: int, packed: PackedSplit) -> None:
    """Write maps that look like a model's: horizontal bands of classes, entropy high along their borders."""
    rng = _rng("previews", trial_id if round_ else "shared", round_)
    images = fixed_images(len(packed.ids))
    previews = []
    for _ in images:
        edges = np.cumsum(rng.normal(0, 1.5, (len(CLASSES), 240)), axis=1) + np.linspace(0, 180, len(CLASSES))[:, None]
        distance = np.abs(np.arange(180)[:, None, None] - edges.T[None])
        predicted = (np.arange(180)[:, None, None] > edges.T[None]).sum(axis=2).clip(0, len(CLASSES) - 1)
        entropy = 255 * np.exp(-distance.min(axis=2) / 6) + rng.normal(0, 8, (180, 240))
        previews.append(Preview(predicted.astype(np.uint8), (entropy.clip(0, 255) // 8 * 8).astype(np.uint8)))
    path = previews_path(folder, trial_id, round_)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack_previews(images, packed.sizes[images], previews))
