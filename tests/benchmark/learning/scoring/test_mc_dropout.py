"""Monte-Carlo dropout: values by hand, seeds per image and pass, reproducibility."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, label, make_grid, make_learner, make_set, tiny_recipe

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Decoder, Encoded, build_decoder, build_encoder
from quadrat.benchmark.learning.scoring.mc_dropout import NUM_PASSES, gather_passes
from quadrat.benchmark.learning.scoring.predict import predict_from
from quadrat.benchmark.learning.scoring.signals import Outputs, bald, mc_entropy, vote_entropy

CPU = torch.device("cpu")
IMAGES, MASKS = make_set()
MC_SIGNALS = ("mc-entropy", "bald", "vote-entropy")


def of_one_pixel(*passes: tuple[float, ...]) -> Outputs:
    logits = [torch.tensor(prob).log().reshape(1, len(prob), 1, 1) for prob in passes]
    return Outputs(logits_BCHW=logits[0], run_passes=lambda: logits)


def test_signals_of_two_passes_by_hand() -> None:
    outputs = of_one_pixel((0.9, 0.1), (0.3, 0.7))
    mean = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    own = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.9, 0.3)]
    assert mc_entropy.per_pixel(outputs).item() == pytest.approx(mean, abs=1e-6)
    assert bald.per_pixel(outputs).item() == pytest.approx(mean - sum(own) / 2, abs=1e-6)
    assert vote_entropy.per_pixel(outputs).item() == pytest.approx(math.log(2), abs=1e-6)


def test_passes_that_agree_have_entropy_but_neither_bald_nor_vote_entropy() -> None:
    outputs = of_one_pixel((0.6, 0.4), (0.6, 0.4), (0.6, 0.4))
    assert mc_entropy.per_pixel(outputs).item() > 0.6
    assert bald.per_pixel(outputs).item() == pytest.approx(0.0, abs=1e-6)
    assert vote_entropy.per_pixel(outputs).item() == 0.0


def test_bald_is_never_negative_and_never_above_the_entropy_of_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(2, 5, 6, 7, generator=generator) for _ in range(4)]
    outputs = Outputs(logits_BCHW=logits[0], run_passes=lambda: logits)
    disagreement, entropy = bald.per_pixel(outputs), mc_entropy.per_pixel(outputs)
    assert disagreement.min() >= 0 and (disagreement <= entropy + 1e-6).all()
    torch.testing.assert_close(outputs.passes.vote_BCHW.sum(dim=1), torch.ones(2, 6, 7))


def test_gathered_passes_are_the_means_of_all_of_them() -> None:
    logits = torch.randn(6, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    passes = gather_passes(iter(logits))
    torch.testing.assert_close(passes.prob_BCHW, torch.softmax(logits, dim=2).mean(dim=0))
    entropy = torch.special.entr(torch.softmax(logits, dim=2)).sum(dim=2).mean(dim=0)
    torch.testing.assert_close(passes.entropy_BHW, entropy)


@pytest.fixture(scope="module")
def network() -> tuple[Decoder, Encoded]:
    recipe = tiny_recipe(dropout=0.5)
    encoder = build_encoder(recipe, None, seed=0).eval()
    decoder = build_decoder(recipe, encoder.channels, NUM_CLASSES, seed=0).eval()
    with torch.inference_mode():
        images = torch.from_numpy(np.stack([IMAGES.image(1), IMAGES.image(2)]))
        return decoder, encoder(encoder.prepare(images))


@torch.inference_mode()
def test_before_and_after_dropout_together_are_the_whole_decoder(network: tuple[Decoder, Encoded]) -> None:
    decoder, encoded = network
    expected = decoder.describe(encoded)
    assert torch.equal(decoder.after_dropout(decoder.before_dropout(encoded), encoded), expected)


@torch.inference_mode()
def test_a_pass_of_an_image_depends_on_its_seed_and_not_on_the_batch(network: tuple[Decoder, Encoded]) -> None:
    decoder, encoded = network
    together = list(predict_from(decoder, encoded, CPU, "fp32").dropout_passes([[1, 2], [3, 4], [1, 4]]))
    alone = type(encoded)(*(maps[1:] for maps in encoded))
    [second] = predict_from(decoder, alone, CPU, "fp32").dropout_passes([[2]])
    torch.testing.assert_close(second[0], together[0][1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[0][0], together[2][0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[1])


@torch.inference_mode()
def test_the_mean_of_many_dropout_masks_keeps_the_scale(
    network: tuple[Decoder, Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, encoded = network
    dropped = []
    passes = predict_from(decoder, encoded, CPU, "fp32").dropout_passes
    assert passes is not None
    # The rest of the decoder is left out: what is averaged is the input of `after_dropout`.
    monkeypatch.setattr(decoder, "after_dropout", lambda dropped_BDuv, _: (dropped.append(dropped_BDuv), features)[1])
    features = torch.zeros(2, decoder.classifier.in_channels, 1, 1)
    for _ in passes([[number, number + 500] for number in range(200)]):
        pass
    mean, expected = torch.stack(dropped).mean(dim=0), decoder.before_dropout(encoded)
    assert (mean.mean() / expected.mean()).item() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("frozen", [False, True])
def test_mc_signals_are_reproducible_and_differ_between_rounds(tmp_path: Path, frozen: bool) -> None:
    grid = make_grid(MASKS)
    recipe = tiny_recipe(dropout=0.5, frozen=frozen, iterations=2)
    learner = make_learner(recipe, tmp_path, train=IMAGES, test=IMAGES)
    fitted = learner.fit(label(MASKS, grid), seed=0, round=0)
    rounds = [
        learner.score(fitted, grid, signals=(*MC_SIGNALS, "entropy"), features=False, seed=0, round=round_).signals
        for round_ in (0, 0, 1)
    ]
    for name in MC_SIGNALS:
        np.testing.assert_array_equal(rounds[0][name], rounds[1][name])
        if name != "vote-entropy":  # after two iterations all passes predict the same classes
            assert not np.array_equal(rounds[0][name], rounds[2][name])
        assert rounds[0][name].min() >= 0 and rounds[0][name].max() <= math.log(NUM_CLASSES) + 1e-6
    np.testing.assert_array_equal(rounds[0]["entropy"], rounds[2]["entropy"])
    alone = learner.score(fitted, grid, signals=("entropy",), features=False, seed=0, round=0).signals
    np.testing.assert_array_equal(alone["entropy"], rounds[0]["entropy"])


def test_a_recipe_without_dropout_is_refused(tmp_path: Path) -> None:
    grid = make_grid(MASKS)
    learner = make_learner(tiny_recipe(dropout=0.0, iterations=2), tmp_path, train=IMAGES, test=IMAGES)
    fitted = learner.fit(label(MASKS, grid), seed=0, round=0)
    with pytest.raises(TrainingError, match=r"got dropout 0: .* set learner\.dropout"):
        learner.score(fitted, grid, signals=("bald",), features=False, seed=0, round=0)


def test_no_two_passes_share_a_seed() -> None:
    from quadrat.benchmark.seeds import torch_seed

    seeds = [torch_seed(0, "score", 0, "dropout", image, number) for image in range(3) for number in range(NUM_PASSES)]
    assert all(first != second for first, second in pairwise(sorted(seeds)))
