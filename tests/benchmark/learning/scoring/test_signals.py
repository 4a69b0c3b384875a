import math

import pytest
import torch

from quadrat.benchmark.learning.scoring.signals import Outputs, bvsb, entropy, least_confidence, load_signals, margin
from quadrat.strategies.errors import PluginError
from quadrat.strategies.registry import Registry

NUM_CLASSES = 7


def outputs(prob_BCHW: torch.Tensor) -> Outputs:
    return Outputs(logits_BCHW=prob_BCHW.log())


@pytest.fixture
def drawn() -> torch.Tensor:
    logits = 3 * torch.randn(2, NUM_CLASSES, 9, 11, generator=torch.Generator().manual_seed(0))
    return torch.softmax(logits, dim=1)


def test_signals_stay_in_their_ranges(drawn) -> None:
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


def test_even_output_has_the_largest_signals() -> None:
    even = outputs(torch.full((1, NUM_CLASSES, 2, 2), 1 / NUM_CLASSES))
    torch.testing.assert_close(entropy.per_pixel(even), torch.full((1, 2, 2), math.log(NUM_CLASSES)))
    torch.testing.assert_close(margin.per_pixel(even), torch.ones(1, 2, 2))
    torch.testing.assert_close(bvsb.per_pixel(even), torch.ones(1, 2, 2))
    torch.testing.assert_close(least_confidence.per_pixel(even), torch.full((1, 2, 2), 1 - 1 / NUM_CLASSES))


def test_sure_output_has_no_signal_and_no_nan() -> None:
    sure = Outputs(logits_BCHW=torch.tensor([1e4, -1e4, 0.0]).reshape(1, 3, 1, 1))
    for signal in (entropy, margin, bvsb, least_confidence):
        assert signal.per_pixel(sure).item() == 0.0


def test_entropy_is_in_nats(drawn) -> None:
    expected = torch.special.entr(drawn.double()).sum(dim=1)
    torch.testing.assert_close(entropy.per_pixel(outputs(drawn)).double(), expected, atol=1e-5, rtol=1e-5)


def test_margin_is_that_of_the_two_largest(drawn) -> None:
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


def test_our_signals_come_through_the_registry() -> None:
    assert {"entropy", "margin", "bvsb", "least-confidence"} <= set(
        Registry(group="quadrat.signals", kind="signal").names()
    )
    loaded = load_signals(["least-confidence", "entropy"])
    assert list(loaded) == ["least-confidence", "entropy"]
    assert loaded["entropy"] is entropy


def test_unknown_signal_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown signal 'entropie'.*did you mean 'entropy'"):
        load_signals(["entropie"])


def test_plugin_that_is_no_signal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    import quadrat.strategies.registry as registry

    broken = EntryPoint(name="broken", value="math:sqrt", group="quadrat.signals")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.raises(
        PluginError, match=r"signal 'broken'.*expected a quadrat\.benchmark\.learning\.scoring\.signals\.Signal"
    ):
        load_signals(["broken"])
