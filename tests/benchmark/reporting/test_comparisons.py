"""Sentences on strategies among themselves: values by hand, seeds paired."""

from types import SimpleNamespace
from typing import Any

import pytest

from quadrat.benchmark.analysis.pairwise import pairwise_tests
from quadrat.benchmark.reporting.comparisons import headline_of_pairs, num_seeds_of_pairs, sentence_of_pairs


def found(**by_label: list[float]) -> Any:
    """Return statistics that hold all pairs at round 3, the values of seeds 0, 1, ..."""
    values = {label: {3: dict(enumerate(list_))} for label, list_ in by_label.items()}
    return SimpleNamespace(pairwise=pairwise_tests(values, list(values), 3), round=3)


def test_of_two_strategies_the_better_one_is_named_first_whatever_their_order() -> None:
    # Differences 2, 3, 4: mean 3, std 1, half width t(2, 0.975) / sqrt(3) = 4.3027 / 1.7321 = 2.484
    expected = "new is better than old at the end: +3.00 points (95 % interval +0.52 to +5.48)."
    assert headline_of_pairs(found(old=[50, 50, 50], new=[52, 53, 54]), "at the end") == expected
    assert headline_of_pairs(found(new=[52, 53, 54], old=[50, 50, 50]), "at the end") == expected


def test_two_strategies_that_cannot_be_told_apart_are_said_to_with_the_seeds_that_speak_for_one() -> None:
    text = headline_of_pairs(found(old=[50, 50, 50], new=[49, 51, 52]), "at the end")
    assert text == "new and old can't be told apart at the end: +0.67 points for new (higher in 2 of 3 seeds)."


@pytest.mark.parametrize("num", [1, 2])
def test_too_few_seeds_tell_nothing(num: int) -> None:
    statistics = found(old=[50.0] * num, new=[60.0] * num)
    assert num_seeds_of_pairs(statistics) == num
    text = headline_of_pairs(statistics, "at the end")
    assert text is not None and text.startswith(f"{num} shared seed") and "too few" in text


def test_of_three_strategies_all_pairs_are_corrected_together_and_the_told_ones_are_named() -> None:
    # c is 20 above both, with differences that hardly vary; a and b are equal on the mean.
    statistics = found(a=[50, 51, 52], b=[51, 51, 51], c=[70.1, 71, 71.9])
    assert sentence_of_pairs(statistics) == (
        "2 of 3 pairs can be told apart at round 3 (Holm-corrected): c over a and c over b; the others can't."
    )
    assert headline_of_pairs(statistics, "at the end") == (
        "2 of 3 pairs can be told apart at the end: c over a and c over b."
    )


def test_without_a_pair_nothing_is_said() -> None:
    assert headline_of_pairs(found(a=[50, 51, 52]), "at the end") is None
    assert sentence_of_pairs(found(a=[50, 51, 52])) is None
    assert sentence_of_pairs(found(a=[50, 51], b=[50, 51])) is None
