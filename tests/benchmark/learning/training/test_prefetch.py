import threading
from pathlib import Path

import pytest
import torch
from support.learning_fakes import NUM_CLASSES, label, make_grid, make_set, tiny_recipe

from quadrat.benchmark.learning import Learner
from quadrat.benchmark.learning.training import finetuned
from quadrat.benchmark.learning.training.prefetch import Prefetched


def test_any_order_of_iterations_gives_each_its_own_result() -> None:
    prefetched = Prefetched(lambda step: step * step)
    assert [prefetched(step) for step in (0, 1, 2, 7, 8, 3, 3)] == [0, 1, 4, 49, 64, 9, 9]
    prefetched.close()


def test_the_next_iterations_are_cut_before_they_are_asked_for() -> None:
    cut_ahead = threading.Event()

    def cut(step: int) -> int:
        if step == 2:
            cut_ahead.set()
        return step

    prefetched = Prefetched(cut)
    assert prefetched(0) == 0
    assert cut_ahead.wait(timeout=60)
    prefetched.close()


def test_an_error_on_the_thread_is_raised_where_its_batch_is_asked_for() -> None:
    def cut(step: int) -> int:
        if step == 1:
            raise OSError("gone")
        return step

    prefetched = Prefetched(cut)
    assert prefetched(0) == 0
    with pytest.raises(OSError, match="gone"):
        prefetched(1)
    prefetched.close()


def test_a_fit_ends_with_the_same_bits_when_its_batches_are_cut_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, masks = make_set()
    states = []
    for is_ahead in (False, True):
        monkeypatch.setattr(finetuned, "_is_cut_ahead", lambda device, answer=is_ahead: answer)
        learner = Learner(
            tiny_recipe(iterations=4),
            train=pool,
            test=pool,
            num_classes=NUM_CLASSES,
            device="cpu",
            threads=1,
            cache_dir=tmp_path,
        )
        states.append(learner.fit(label(masks, make_grid(masks)), seed=0, round=0).state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
