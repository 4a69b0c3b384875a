"""Displays of a run: lines for a pipe, a table for a terminal."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text
from support.fake_trials import (
    make_progress,
    make_record,
    make_suite,
)

from quadrat.cluster.progress.display import LineDisplay, LiveDisplay, draw, open_display
from quadrat.cluster.progress.progress import RunProgress

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_elsewhere_than_in_a_terminal_every_round_is_a_line() -> None:
    text = io.StringIO()
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, text)
    progress.start(TRIALS[0])
    progress.record(make_record(TRIALS[0], 0))
    display.round_done(make_record(TRIALS[0], 0))
    assert "random  seed 0  round 0/2  4 regions (4.0 %)  mIoU 20.0 %" in text.getvalue()
    assert "[1/12 rounds" in text.getvalue()


def test_the_table_shows_trial_phase_and_what_is_left() -> None:
    progress = RunProgress(TRIALS)
    progress.start(TRIALS[0], "node-1")
    progress.start(TRIALS[1], "node-2")
    progress.update(make_progress(TRIALS[0], 1, "fit", 2, 3))
    progress.update(make_progress(TRIALS[1], 0, "wait", 0, 0))
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(draw(progress, "fake"))
    text = console.export_text()
    for expected in ("random", "0/2", "2/3", "waiting for a shared fit", "node-2", "0/4 trials", "0/12 rounds"):
        assert expected in text


@pytest.mark.parametrize("hosts", [("node-1", "node-1"), ("worker-17.example", "worker-18.example")])
def test_in_80_columns_a_trial_is_a_line(hosts: tuple[str, str]) -> None:
    label = "entropy-feature-spatial with a long label"
    trials = make_suite(strategies=[{"name": "random", "label": label}, "entropy-spatial"]).trials()
    progress = RunProgress(trials)
    for spec, host in zip(trials, hosts, strict=False):
        progress.start(spec, host)
        progress.update(make_progress(spec, 0, "evaluate", 120, 1200))
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(draw(progress, "a-suite-with-a-long-name", 80, 24))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= 80
    assert sum("120/1200" in line for line in lines) == 2
    assert len([line for line in lines if line]) == 4  # heads, two trials, all of it


def test_no_more_trials_are_shown_than_the_terminal_has_lines() -> None:
    trials = make_suite(seeds=list(range(20)), strategies=["random", "entropy"]).trials()
    progress = RunProgress(trials)
    for spec in trials:
        progress.start(spec)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(draw(progress, "fake", 80, 24))
    text = console.export_text()
    assert len(text.splitlines()) < 24
    assert "... and 22 more in flight" in text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_label_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    suite = make_suite(strategies=[{"name": "random", "label": "top[/x] [red]a[/red] :smile:"}])
    progress = RunProgress(suite.trials())
    progress.start(suite.trials()[0])
    text = _Terminal()
    with open_display(progress, "[/b]", text) as display:
        display.print("[/x] failed")
        display.refresh()
    assert "top[/x] [red]a[/red] :smile:" in text.getvalue()
    assert "[/x] failed" in text.getvalue()


def test_a_line_that_is_wider_than_the_terminal_goes_on_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = _Terminal()
    words = [f"parameter_{number}=0.123" for number in range(5)]
    with open_display(RunProgress(TRIALS), "fake", text) as display:
        assert isinstance(display, LiveDisplay)
        display.print_line(Text("candidate 1  " + "  ".join(words)))
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).replace("\r", "")
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    assert " ".join(printed.split()) == "candidate 1 " + " ".join(words)  # nothing is cut off
    assert max(map(len, lines)) <= 40
    assert lines[0].startswith("candidate 1") and all(line.startswith("  ") for line in lines[1:])


def test_an_activity_that_was_printed_is_not_repeated_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text, progress = _Terminal(), RunProgress(TRIALS)
    with open_display(progress, "fake", text) as display:
        for activity, has_line in (("packing  1/2", False), ("loading torch in the workers", True)):
            progress.activity = activity
            if has_line:
                display.print(activity)
            text.truncate(0)
            monkeypatch.setattr(display, "_drawn_s", float("-inf"))
            display.refresh()
            assert (activity in text.getvalue()) != has_line
            assert "0/4 trials" in text.getvalue()
