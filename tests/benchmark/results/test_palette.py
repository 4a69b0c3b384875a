"""Looks of strategies: the same from report to report, distinct for every reader and on paper without colour."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from support.fake_results import STRATEGIES

from quadrat.benchmark.results.palette import FULL_SUPERVISION_LOOK, looks_of, round_colours

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def seen(colour: str, sight: str) -> NDArray[np.float64]:
    """Return CIE Lab (D65) of an sRGB hex colour as a reader with that sight sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(SIGHT[sight] @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_lab_of_known_colours() -> None:
    assert seen("#ffffff", "normal") == pytest.approx([100, 0, 0], abs=0.02)
    assert seen("#ff0000", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    red, green = seen("#c00000", "deuteranopia"), seen("#606000", "deuteranopia")
    assert np.linalg.norm(red - green) < 20 < np.linalg.norm(seen("#c00000", "normal") - seen("#606000", "normal"))


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_the_shipped_strategies_are_far_apart_for_every_reader(sight: str) -> None:
    looks = looks_of({name: name for name in STRATEGIES})
    colours = {label: seen(look.colour, sight) for label, look in looks.items()}
    near = {pair: np.linalg.norm(colours[pair[0]] - colours[pair[1]]) for pair in itertools.combinations(colours, 2)}
    assert min(near.values()) > 20, min(near, key=near.__getitem__)
    white = seen("#ffffff", sight)
    assert min(np.linalg.norm(colour - white) for colour in colours.values()) > 40


def test_every_shipped_strategy_has_a_mark_of_its_own() -> None:
    looks = looks_of({name: name for name in STRATEGIES})
    del looks["full-supervision"]
    assert len({look.mark for look in looks.values()}) == len(STRATEGIES)
    assert {label for label, look in looks.items() if not look.dash} == {
        name for name in STRATEGIES if "spatial" in name
    }


def test_shipped_strategies_look_the_same_in_every_report() -> None:
    alone = looks_of({"entropy-spatial": "entropy-spatial"})
    together = looks_of({"mine": "mine", **{label: label for label in STRATEGIES}})
    assert alone["entropy-spatial"] == together["entropy-spatial"]
    assert alone["full-supervision"] == FULL_SUPERVISION_LOOK


def test_many_labels_all_look_different() -> None:
    looks = looks_of({f"label {i}": "entropy" if i % 2 else "mine" for i in range(30)})
    assert len(set(looks.values())) == 31


def test_region_sizes_of_a_strategy_share_colour_and_mark_and_differ_in_the_dash() -> None:
    names = {f"{name} r{size}": name for size in (16, 8, 32) for name in ("random", "entropy-spatial")}
    looks = looks_of(names, {label: int(label.rpartition("r")[2]) for label in names})
    for name in ("random", "entropy-spatial"):
        own = [looks[f"{name} r{size}"] for size in (16, 8, 32)]
        assert len({(look.colour, look.mark) for look in own}) == 1
        assert len({look.dash for look in own}) == 3
    assert len(set(looks.values())) == 7


def test_label_types_of_a_strategy_share_colour_and_mark_whatever_their_labels_are() -> None:
    names = {"random": "random", "entropy": "entropy", "a": "random", "b": "entropy", "twice": "entropy"}
    looks = looks_of(names, {"random": "p", "entropy": "p", "a": "d", "b": "d", "twice": "d"})
    for one, other in (("random", "a"), ("entropy", "b")):
        assert (looks[one].colour, looks[one].mark) == (looks[other].colour, looks[other].mark)
        assert looks[one].dash != looks[other].dash
    assert looks["twice"].colour != looks["entropy"].colour


def test_nine_queries_of_a_strategy_all_look_different_and_share_its_colour() -> None:
    names = {f"{name} {query}": name for query in range(9) for name in ("random", "entropy")}
    looks = looks_of(names, {label: int(label.split()[1]) for label in names})
    assert len(set(looks.values())) == 9 * 2 + 1
    assert len({looks[f"random {query}"].colour for query in range(9)}) == 1


def test_rounds_have_different_colours() -> None:
    for num_rounds in (1, 2, 3, 6, 9):
        assert len(set(round_colours(num_rounds))) == num_rounds
