"""Ray Tune as the runner of candidates: what an error of Tune itself does."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import tune
from support.fake_trials import ENGINE, STUDY, make_suite

from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.runner.interrupt import GRACE_S, StopRequest
from quadrat.cluster.study import tune_adapter
from quadrat.cluster.study.search import Search
from quadrat.cluster.study.tune_adapter import CandidateSource, run_candidates


@pytest.mark.parametrize("is_done", [True, False])
def test_an_error_of_tune_after_the_last_candidate_is_said_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_done: bool
) -> None:
    """A raylet that is lost while Tune tidies up."""

    class Tuner:
        def __init__(self, *arguments: Any, **options: Any) -> None: ...

        def fit(self) -> None:
            raise RuntimeError("the raylet died")

    monkeypatch.setattr(tune, "Tuner", Tuner)
    monkeypatch.setattr(tune_adapter, "ProgressChannel", lambda: SimpleNamespace(reporter=None, request_stop=None))
    said: list[str] = []
    search = SimpleNamespace(is_done=is_done, num_open=0, display=SimpleNamespace(print=said.append))
    suite = make_suite(strategies=["random"], study=STUDY)
    options = SimpleNamespace(results_dir=tmp_path, engine=ENGINE)
    context = SimpleNamespace(suite=suite, options=options, stop=None, refresh=lambda: None)
    if is_done:
        run_candidates(cast(RunContext, context), cast(Search, search), is_own=False)
        assert said == ["! Ray Tune ended with an error after the last candidate: RuntimeError: the raylet died"]
    else:
        with pytest.raises(RuntimeError, match="the raylet died"):
            run_candidates(cast(RunContext, context), cast(Search, search), is_own=False)


def test_a_search_that_is_to_stop_waits_for_checkpoints_of_fits_but_not_for_ever() -> None:
    now_s, asked = [0.0], list[float]()
    search = SimpleNamespace(is_in_fit=True)
    stop = SimpleNamespace(signal=None)
    source = CandidateSource(
        cast(Search, search),
        cast(StopRequest, stop),
        lambda: None,
        lambda: asked.append(now_s[0]),
        clock=lambda: now_s[0],
    )
    assert not source.stop_all()
    stop.signal = signal.SIGINT
    for now_s[0] in (1.0, 2.0):
        assert not source.stop_all()
    assert asked == [1.0]
    assert source.suggest("next") == CandidateSource.FINISHED
    now_s[0] = 1.0 + GRACE_S
    assert source.stop_all()
    now_s[0], search.is_in_fit = 3.0, False
    assert source.stop_all()
