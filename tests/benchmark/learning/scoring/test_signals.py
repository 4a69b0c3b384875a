"""Signals: ranges, values by hand, the registry."""

import math
import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from support.learning_fakes import make_grid, make_set, random_predict
from support.paths import ROOT

from quadrat.benchmark.data.clicks import contour_vertices, count_clicks
from quadrat.benchmark.learning.scoring.score import score_regions
from quadrat.benchmark.learning.scoring.signals import (
    SIGNALS,
    Outputs,
    Signal,
    bvsb,
    entropy,
    least_confidence,
    load_signals,
    margin,
    predicted_clicks,
)
from quadrat.strategies import registry
from quadrat.strategies.errors import PluginError

NUM_CLASSES = 7


def outputs(prob_BCHW: torch.Tensor) -> Outputs:
    return Outputs(logits_BCHW=prob_BCHW.log())


@pytest.fixture
def drawn() -> torch.Tensor:
    logits = 3 * torch.randn(2, NUM_CLASSES, 9, 11, generator=torch.Generator().manual_seed(0))
    return torch.softmax(logits, dim=1)


def test_signals_stay_in_their_ranges(drawn: torch.Tensor) -> None:
    ranges = (
        (entropy, math.log(NUM_CLASSES)),
        (margin, 1.0),
        (bvsb, 1.0),
        (least_confidence, 1 - 1 / NUM_CLASSES),
    )
    for signal, largest in ranges:
        value = signal.per_pixel(outputs(drawn))
        assert value.shape == (2, 9, 11)
        assert value.min() >= -1e-6 and value.max() <= largest + 1e-6


def test_a_uniform_prediction_has_the_largest_signals() -> None:
    even = outputs(torch.full((1, NUM_CLASSES, 2, 2), 1 / NUM_CLASSES))
    torch.testing.assert_close(entropy.per_pixel(even), torch.full((1, 2, 2), math.log(NUM_CLASSES)))
    torch.testing.assert_close(margin.per_pixel(even), torch.ones(1, 2, 2))
    torch.testing.assert_close(bvsb.per_pixel(even), torch.ones(1, 2, 2))
    torch.testing.assert_close(least_confidence.per_pixel(even), torch.full((1, 2, 2), 1 - 1 / NUM_CLASSES))


def test_a_certain_prediction_has_signals_of_0_and_no_nan() -> None:
    sure = Outputs(logits_BCHW=torch.tensor([1e4, -1e4, 0.0]).reshape(1, 3, 1, 1))
    for signal in (entropy, margin, bvsb, least_confidence):
        assert signal.per_pixel(sure).item() == 0.0


def test_entropy_is_in_nats(drawn: torch.Tensor) -> None:
    expected = torch.special.entr(drawn.double()).sum(dim=1)
    torch.testing.assert_close(entropy.per_pixel(outputs(drawn)).double(), expected, atol=1e-5, rtol=1e-5)


def test_margin_is_that_of_the_two_largest(drawn: torch.Tensor) -> None:
    first, second = drawn.topk(2, dim=1).values.unbind(dim=1)
    torch.testing.assert_close(margin.per_pixel(outputs(drawn)), 1 - (first - second), atol=1e-5, rtol=1e-5)


def test_margin_of_a_tie_is_one() -> None:
    tie = outputs(torch.tensor([0.1, 0.45, 0.45]).reshape(1, 3, 1, 1))
    assert margin.per_pixel(tie).item() == pytest.approx(1.0, abs=1e-6)


def test_signals_of_one_pixel_by_hand() -> None:
    pixel = outputs(torch.tensor([0.5, 0.2, 0.3]).reshape(1, 3, 1, 1))
    assert margin.per_pixel(pixel).item() == pytest.approx(0.8, abs=1e-6)
    assert bvsb.per_pixel(pixel).item() == pytest.approx(0.6, abs=1e-6)
    assert least_confidence.per_pixel(pixel).item() == pytest.approx(0.5, abs=1e-6)


def test_built_in_signals_come_through_the_registry() -> None:
    assert {"entropy", "margin", "bvsb", "least-confidence", "predicted-clicks"} <= set(SIGNALS.names())
    loaded = load_signals(["least-confidence", "entropy"])
    assert list(loaded) == ["least-confidence", "entropy"]
    assert loaded["entropy"] is entropy


def test_unknown_signal_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown signal 'entropie'.*did you mean 'entropy'"):
        load_signals(["entropie"])


def test_a_plugin_that_is_not_a_signal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint(name="broken", value="math:sqrt", group="quadrat.signals")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.raises(
        PluginError, match=r"signal 'broken'.*expected a quadrat\.benchmark\.learning\.scoring\.signals\.Signal"
    ):
        load_signals(["broken"])


def test_a_signal_has_either_a_map_per_pixel_or_values_per_region() -> None:
    with pytest.raises(ValueError, match="either per_pixel or per_region"):
        Signal()


def test_predicted_clicks_of_a_square_by_hand() -> None:
    mask = torch.zeros(8, 16, dtype=torch.long)
    mask[2:6, 2:6] = 1
    logits = torch.nn.functional.one_hot(mask, 8).permute(2, 0, 1)[None].float()
    assert predicted_clicks.per_region is not None
    assert predicted_clicks.per_region(Outputs(logits_BCHW=logits), 8).tolist() == [[[6.0, 1.0]]]


@pytest.mark.parametrize("region_size", [12, 40])
def test_predicted_clicks_are_the_oracles_count_of_the_predicted_mask(region_size: int) -> None:
    images, masks = make_set()
    predicted: list[np.ndarray] = []

    def keep(outputs: Outputs) -> torch.Tensor:
        predicted.append(outputs.predicted_BHW[0].to(torch.uint8).numpy())
        return outputs.predicted_BHW.float()

    signals = {**load_signals(["predicted-clicks"]), "keep": Signal(per_pixel=keep)}
    grid = make_grid(masks, region_size)
    scores = score_regions(random_predict(images), grid, signals, with_features=False, device=torch.device("cpu"))
    expected = [count_clicks(mask, region_size, contour_vertices(mask)) for mask in predicted]
    np.testing.assert_array_equal(scores.signals["predicted-clicks"], np.concatenate(expected))
    assert scores.signals["predicted-clicks"].min() >= 1


def test_the_signal_of_the_readme_is_a_signal(drawn: torch.Tensor) -> None:
    readme = (ROOT / "benchmark" / "learning" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names: dict[str, Signal] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["gini"].per_pixel is not None
    torch.testing.assert_close(names["gini"].per_pixel(outputs(drawn)), 1 - (drawn**2).sum(dim=1))
