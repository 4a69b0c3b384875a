"""A suite with a study, and candidates of it, without a search."""

from typing import Any

from quadrat.benchmark.config.candidates import Candidate
from quadrat.benchmark.config.suite import Suite
from support.fake_trials import make_suite

__all__ = ["done", "suite_with"]

_STUDY = {
    "strategy": "entropy-spatial",
    "params": {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0, "w_spatial": 1.0},
    "space": {"cutoff": {"float": [1, 4]}, "region_size": [16, 8]},
    "candidates": 4,
    "search_seeds": [10, 11],
}


def suite_with(**changes: Any) -> Suite:
    """Return a suite whose study searches a cut-off and a region size; `study` may change keys of it."""
    study = changes.pop("study", {})
    return make_suite(strategies=["random", "entropy-spatial"], study={**_STUDY, **study}, **changes)


def done(number: int, *values: float, **changes: Any) -> Candidate:
    """Return a completed candidate with these values of its objectives."""
    params = {"cutoff": 1.0 + number, "region_size": 16}
    return Candidate(**{"number": number, "state": "done", "params": params, "values": values, **changes})
