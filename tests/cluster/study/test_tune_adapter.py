"""Ray Tune as the runner of candidates: what an error of Tune itself does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import tune
from support.fake_trials import ENGINE, STUDY, make_suite

from quadrat.cluster.runner.context import RunContext
from quadrat.cluster.study.search import Search
from quadrat.cluster.study.tune_adapter import run_candidates


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
