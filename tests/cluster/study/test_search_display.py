"""The display of a search: a table that fits into 80 x 24, and lines for a pipe."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from support.fake_trials import make_progress, make_record, make_suite

from quadrat.cluster.study.search_display import CandidateRow, SearchState, draw, open_search_display

SPEC = make_suite(seeds=[10]).trials()[0]
PARAMS: dict[str, Any] = {"cutoff": 2.123456, "d3_d2": 1.5, "w_spatial": 0.75, "region_size": 32}


def row(number: int, **changes: Any) -> CandidateRow:
    values: dict[str, Any] = {
        "number": number,
        "params": PARAMS,
        "round": 1,
        "num_rounds": 4,
        "latest": make_progress(SPEC, 1, "evaluate", 120, 1200),
        "values": (0.4567,),
        "elapsed_s": 75.0,
        "left_s": 130.0,
    }
    return CandidateRow(**{**values, **changes})


STATE = SearchState(
    name="a-study-with-a-long-name-of-its-own",
    strategy="entropy-feature-spatial",
    searched=tuple(PARAMS),
    objective=("area",),
    seeds=(10, 11),
    num=12,
    num_ended=3,
    num_pruned=1,
    num_failed=0,
    best=(1, (0.5,), PARAMS),
    rows=(row(3), row(4, latest=None, values=(), left_s=None)),
    activity="",
    elapsed_s=300.0,
    left_s=725.0,
)


def text_of(state: SearchState, columns: int, lines: int = 24) -> list[str]:
    console = Console(width=columns, file=io.StringIO(), record=True)
    console.print(draw(state, columns, lines))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_candidate_is_a_line_below_what_is_searched_and_above_what_is_left(columns: int) -> None:
    lines = text_of(STATE, columns)
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines).split())
    assert "searching cutoff, d3_d2, w_spatial, region_size of entropy-feature-spatial for the largest area" in text
    assert "seeds 10, 11" in text
    (shown,) = [line for line in lines if "120/1200" in line]
    for expected in (" 3 ", "cutoff=2.123", "1/3", " 10 ", "evaluate", "45.67 %", "2m 10s"):
        assert expected in shown
    assert "best so far: candidate 1  area 50.00 %  cutoff=2.123" in "\n".join(lines)
    assert "3/12 candidates (1 pruned)" in lines[-1] and "12m 05s left" in lines[-1]
    assert len([line for line in lines if "loading torch" in line]) == 1


def test_before_a_candidate_is_in_flight_the_activity_is_shown() -> None:
    state = replace(STATE, rows=(), activity="loading torch in the workers", left_s=None, best=None)
    lines = text_of(state, 80)
    assert "loading torch in the workers" in lines
    assert "left" not in lines[-1]


def test_no_more_candidates_than_lines() -> None:
    lines = text_of(replace(STATE, rows=tuple(map(row, range(40)))), 80)
    assert len(lines) < 24
    assert "... and 28 more in flight" in lines


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_a_round_is_no_line_and_an_ended_candidate_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    text = _Terminal()
    with open_search_display(lambda: STATE, text) as display:
        display.candidate_started(3, PARAMS, "")
        display.round_done(make_record(SPEC, 1))
        display.candidate_ended(3, "done", "area 45.67 %", PARAMS)
    lines = [line for line in text.getvalue().splitlines() if "candidate" in line]
    assert len(lines) == 1 and "candidate 3" in lines[0] and "area 45.67 %" in lines[0]


def test_in_a_pipe_the_time_left_is_there_once_it_is_known() -> None:
    for left_s, rest in ((None, "[3/12 candidates (1 pruned)]"), (725.0, "[3/12 candidates (1 pruned), 12m 05s left]")):
        text, state = io.StringIO(), replace(STATE, left_s=left_s)
        with open_search_display(lambda state=state: state, text) as display:  # type: ignore[misc]
            display.round_done(make_record(SPEC, 1))
            display.candidate_ended(3, "pruned after round 2", "area 45.67 %", PARAMS)
        first, second, third = text.getvalue().splitlines()
        assert "searching cutoff" in first
        assert second.endswith(rest) and "seed 10  round 1  8 regions (8.0 %)  mIoU 40.0 %" in second
        assert third.endswith(f"candidate 3  pruned after round 2: area 45.67 %, best so far: candidate 1  {rest}")
