"""A manifest and a suite for a folder of images and masks, with what was assumed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from quadrat.benchmark.data.loaders.pattern import Pattern
from quadrat.benchmark.data.loaders.reading import DEEP, IMAGE_SUFFIXES, deep_grey_maximum, read_rgb
from quadrat.benchmark.data.proposal.layout import SPLIT, FileLayout, find_layout
from quadrat.benchmark.data.proposal.values import find_meaning
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.seeds import rng

__all__ = ["Proposal", "propose", "suite_name"]

POOL: Final = ("train", "training", "trainval")
TEST: Final = ("test", "testing", "val", "valid", "validation", "dev", "eval")
"""Splits that are taken as pool and test set, the first that is there."""

MOST_IMAGES: Final = 20
"""Images whose bits are looked at."""

TEST_SHARE: Final = 0.2
"""Share of the images that is drawn as test set where there are no splits."""

REGION_SIZES: Final = (128, 96, 64, 48, 32, 24, 16, 8)
SHARES: Final = (0.01, 0.02, 0.04, 0.08)
"""Edge of regions, of which the largest with eight or more on the shorter side is taken, and budgets by share of the
pool's regions."""

LEARNER: Final = {
    "encoder": "tf_efficientnet_lite0",
    "weights": "packaged",
    "frozen": True,
    "decoder_channels": 32,
    "dropout": 0.1,
    "optimizer": "adamw",
    "lr": 0.03,
    "weight_decay": 0.0001,
    "iterations": 600,
    "batch_size": 8,
}
"""The recipe of camvid-cpu, for CPUs."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to write for a folder.

    Attributes:
        manifest: Content of `manifest.json`.
        lists: Content of list files, by their names.
        suite: Content of the suite's file.
        assumptions: What was assumed, as sentences.
    """

    manifest: dict[str, Any]
    lists: dict[str, str]
    suite: str
    assumptions: tuple[str, ...]


def propose(root: Path, name: str) -> Proposal:
    """Return manifest and suite for the images and masks in a folder.

    Args:
        root: The folder.
        name: Name of data set and suite.

    Raises:
        DataError: When there are none, they don't belong together, or the folder is that of a data set with a loader.
    """
    _require_unknown(root)
    layout = find_layout(root)
    meaning = find_meaning(root, [path for split in sorted(layout.masks, key=str) for path in layout.masks[split]])
    splits, pool, test, notes = _splits(root, layout)
    manifest: dict[str, Any] = {"name": name, **meaning.keys, "pattern": splits.pattern}
    if splits.lists:
        manifest["splits"] = {split: f"{split}.txt" for split in splits.lists}
    bits, of_bits = _bits(splits.images)
    if bits is not None:
        manifest["bits"] = bits
    height, width = read_rgb(splits.images[0], bits).shape[:2]
    region = next((size for size in REGION_SIZES if 8 * size <= min(height, width)), REGION_SIZES[-1])
    num = splits.num_pool * -(-height // region) * -(-width // region)
    budgets = sorted({max(4 * (place + 1), round(share * num)) for place, share in enumerate(SHARES)})
    suite = {
        "name": name,
        "dataset": {"name": "folder", "root": str(root.absolute()), "pool": pool, "test": test},
        "region_size": region,
        "budgets": budgets,
        "learner": {**LEARNER, "crop": max(32, min(256, min(height, width) // 32 * 32))},
        "strategies": ["random", "entropy", "core-set", "entropy-spatial"],
        "seeds": [0, 1, 2, 3, 4],
        "full_supervision": True,
        "resources": {"cpus": 1},
    }
    head = f"# Written by `quadrat data init` for images of {width} x {height}.\n"
    return Proposal(
        manifest=manifest,
        lists={f"{split}.txt": "".join(f"{line}\n" for line in lines) for split, lines in splits.lists.items()},
        suite=head + yaml.safe_dump(suite, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None),
        assumptions=(
            f"images are {splits.pattern['image']}, masks are {splits.pattern['mask']}.",
            *layout.left_out,
            *notes,
            *meaning.assumptions,
            *of_bits,
            f"regions of {region} px, budgets of {', '.join(map(str, budgets))} of about {num:,} in the pool.",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Splits:
    """Patterns, list files by split, the images of the pool."""

    pattern: dict[str, str]
    lists: dict[str, list[str]]
    images: list[Path]
    num_pool: int


def _splits(root: Path, layout: FileLayout) -> tuple[_Splits, str, str, list[str]]:
    """Return the splits, the names of pool and test set, and what was assumed."""
    names = [split for split in layout.masks if split is not None]
    pool, test = _pool_and_test(layout)
    pattern = {"image": layout.image, "mask": layout.mask}
    if pool is not None and test is not None:
        images = [Path(found.path) for found in _found(root, pattern["image"], pool)]
        known = _Splits(pattern=pattern, lists={}, images=images, num_pool=len(layout.masks[pool]))
        return known, pool, test, [f"pool is {pool}, test set is {test}; there is {', '.join(sorted(names))}."]
    if names:  # one split: its images are divided
        pattern = {key: text.replace("{split}", names[0]) for key, text in pattern.items()}
    ids = {key: {found.id: Path(found.path) for found in _found(root, text, None)} for key, text in pattern.items()}
    both = sorted(ids["image"].keys() & ids["mask"].keys())
    if len(both) < 2:
        raise DataError(f"{root}: expected two images with masks or more, got {len(both)}.")
    num_test = max(1, round(TEST_SHARE * len(both)))
    drawn = set(rng(0, "data-init").permutation(len(both))[:num_test].tolist())
    lists = {
        "train": [name for place, name in enumerate(both) if place not in drawn],
        "test": [name for place, name in enumerate(both) if place in drawn],
    }
    found = _Splits(
        pattern=pattern, lists=lists, images=[ids["image"][name] for name in both], num_pool=len(lists["train"])
    )
    note = (
        f"no splits were found: {num_test} of {len(both)} images are drawn as test set, in test.txt. Images that look "
        "alike (a video, tiles of one picture, one patient) belong into one split: sort the two lists by hand."
    )
    return found, "train", "test", [note]


def _pool_and_test(layout: FileLayout) -> tuple[str | None, str | None]:
    """Return the splits to take: those of the usual names, else the largest; None where there are fewer than two."""
    left = sorted((name for name in layout.masks if name is not None), key=lambda name: -len(layout.masks[name]))
    if len(left) < 2:
        return None, None
    chosen = []
    for wanted in (POOL, TEST):
        named = [name for word in wanted for name in left if (SPLIT.findall(name) or [""])[0].lower() == word]
        chosen.append(named[0] if named else left[0])
        left.remove(chosen[-1])
    return chosen[0], chosen[1]


def _found(root: Path, pattern: str, split: str | None) -> list[Any]:
    return Pattern(pattern, IMAGE_SUFFIXES, "pattern").find(root, split)


def _bits(images: Sequence[Path]) -> tuple[int | None, tuple[str, ...]]:
    """Return the bits that grey images of more than 8 bits use, and what was assumed; None for others."""
    places = np.linspace(0, len(images) - 1, min(MOST_IMAGES, len(images)), dtype=int)
    highest = 0
    for place in places:
        try:
            read_rgb(images[place])
        except DataError as error:
            if error.kind != DEEP:
                raise
            highest = max(highest, deep_grey_maximum(images[place]))
    if not highest:
        return None, ()
    bits = next(bits for bits in (10, 12, 14, 16) if highest < 2**bits)
    return bits, (f"images are grey of {bits} bits: the highest value of {len(places)} of them is {highest:,}.",)


def _require_unknown(root: Path) -> None:
    """Raise a `DataError` with the loader to use where a folder is that of a published data set."""
    for folder, loader in (("leftImg8bit", "cityscapes"), ("JPEGImages", "voc")):
        if (root / folder).is_dir():
            raise DataError(f"{root} has the layout of {loader}: quadrat data check {loader} --root {root}")


def suite_name(root: Path) -> str:
    """Return a name of a suite by that of a folder."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", root.absolute().name).strip("-._") or "own"
