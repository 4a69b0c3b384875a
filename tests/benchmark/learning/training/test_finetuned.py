"""Batches of the fine-tuned recipe, cut ahead on a thread."""

import threading
from pathlib import Path

import pytest
import torch
from support.learning_fakes import label, make_grid, make_learner, make_set, tiny_recipe

from quadrat.benchmark.learning.training import finetuned
from quadrat.benchmark.learning.training.finetuned import Prefetched


def test_results_do_not_depend_on_the_order_of_calls() -> None:
    prefetched = Prefetched(lambda step: step * step)
    assert [prefetched(step) for step in (0, 1, 2, 7, 8, 3, 3)] == [0, 1, 4, 49, 64, 9, 9]


def test_the_next_iterations_are_computed_ahead() -> None:
    cut_ahead = threading.Event()

    def cut(step: int) -> int:
        if step == 2:
            cut_ahead.set()
        return step

    prefetched = Prefetched(cut)
    assert prefetched(0) == 0
    assert cut_ahead.wait(timeout=60)


def test_an_error_on_the_thread_is_raised_with_its_batch() -> None:
    def cut(step: int) -> int:
        if step == 1:
            raise OSError("gone")
        return step

    prefetched = Prefetched(cut)
    assert prefetched(0) == 0
    with pytest.raises(OSError, match="gone"):
        prefetched(1)


def test_a_fit_ends_with_the_same_bits_when_batches_are_cut_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, masks = make_set()
    states = []
    for is_ahead in (False, True):
        monkeypatch.setattr(finetuned, "_is_cut_ahead", lambda device, answer=is_ahead: answer)
        learner = make_learner(tiny_recipe(iterations=4), tmp_path, train=pool, test=pool)
        states.append(learner.fit(label(masks, make_grid(masks)), seed=0, round=0).state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
