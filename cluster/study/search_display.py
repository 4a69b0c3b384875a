"""Output of a search: a live table of its candidates in a terminal, one line per round elsewhere."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.study import Objective
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.progress.display import (
    WIDE,
    Display,
    Lines,
    LiveTable,
    make_console,
    seconds,
    show_phase,
)
from quadrat.cluster.progress.progress import Row

__all__ = ["CandidateRow", "SearchDisplay", "SearchState", "draw", "open_search_display", "show_params", "show_values"]

_MAX_ROWS: Final = 30

_OBJECTIVES: Final[dict[Objective, str]] = {
    "area": "the largest area under the mIoU curve over labelled pixels",
    "cost-95": "the fewest labelled pixels for 95 % of full supervision",
    "select-seconds": "the shortest time of selection",
}

_SHOWN: Final[dict[Objective, Callable[[float], str]]] = {
    "area": lambda value: f"{100 * value:.2f} %",
    "cost-95": lambda value: f"{100 * value:.2f} %",
    "select-seconds": "{:.2f} s".format,
}


@dataclass(frozen=True, kw_only=True)
class CandidateRow:
    """A candidate in flight.

    Attributes:
        number: The candidate.
        params: Its searched parameters.
        round: The round that runs, counted from 0.
        num_rounds: Rounds of its trials.
        latest: The last progress of its trial at work, None before the first.
        values: Its objectives over the rounds done; empty before the first.
        elapsed_s: Seconds in flight.
        left_s: Estimated seconds until it has run all rounds.
    """

    number: int
    params: dict[str, Any]
    round: int
    num_rounds: int
    latest: Progress | None
    values: tuple[float, ...]
    elapsed_s: float
    left_s: float | None


@dataclass(frozen=True, kw_only=True)
class SearchState:
    """What there is to show of a search.

    Attributes:
        name: Name of the suite.
        strategy: The strategy whose parameters are searched.
        searched: Names of these parameters.
        objective: What candidates are compared by.
        seeds: Seeds of the search.
        num: Candidates in all.
        num_ended: Those that have ended, the pruned and the failed ones too.
        num_pruned: Those that were pruned.
        num_failed: Those that have failed.
        best: The best that is done: number, values and parameters; None as long as none is.
        rows: Candidates in flight.
        activity: What the driver does while none is in flight.
        elapsed_s: Seconds since the search began.
        left_s: Estimated seconds until it ends.
    """

    name: str
    strategy: str
    searched: tuple[str, ...]
    objective: tuple[Objective, ...]
    seeds: tuple[int, ...]
    num: int
    num_ended: int
    num_pruned: int
    num_failed: int
    best: tuple[int, tuple[float, ...], dict[str, Any]] | None
    rows: tuple[CandidateRow, ...]
    activity: str
    elapsed_s: float
    left_s: float | None

    @property
    def aim(self) -> str:
        """What is searched and for what, as a sentence without its full stop."""
        seeds = ", ".join(map(str, self.seeds))
        aims = " and ".join(_OBJECTIVES[objective] for objective in self.objective)
        of_seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {seeds}"
        return f"searching {', '.join(self.searched)} of {self.strategy} for {aims}; {of_seeds}"

    @property
    def totals(self) -> str:
        """How many candidates have ended, and how."""
        kinds = {"pruned": self.num_pruned, "failed": self.num_failed}
        how = ", ".join(f"{num} {kind}" for kind, num in kinds.items() if num)
        return f"{self.num_ended}/{self.num} candidates" + (f" ({how})" if how else "")


class SearchDisplay(Display, Protocol):
    """Shows a search; its trials are rows of no table, but rounds of a candidate."""

    def candidate_started(self, number: int, params: dict[str, Any], shared: str) -> None:
        """Called when a candidate starts; `shared` says whose trials it shares, "" when it has its own."""

    def candidate_ended(self, number: int, how: str, values: str, params: dict[str, Any]) -> None:
        """Called when a candidate is done or pruned."""


def open_search_display(state: Callable[[], SearchState], stream: TextIO | None = None) -> SearchDisplay:
    """Return a live table for a terminal, a line per round for anything else.

    Args:
        state: Returns what there is to show now.
        stream: Where it is shown, by default the standard output.
    """
    stream = stream or sys.stdout
    console = make_console(stream)
    return _Live(state, console) if console.is_terminal else _Lines(state, stream)


class _Lines(Lines):
    """One line per round, for log files and pipes."""

    def __init__(self, state: Callable[[], SearchState], stream: TextIO) -> None:
        super().__init__(stream)
        self._state = state

    def __enter__(self) -> Self:
        self.print(self._state().aim)
        return self

    def round_done(self, record: Record) -> None:
        """Print cost, mIoU and duration of the round, and how far the search is."""
        self.print_round(record, "", self._rest())

    def trial_done(self, row: Row) -> None:
        """Do nothing: the line of its last round was printed."""

    def candidate_started(self, number: int, params: dict[str, Any], shared: str) -> None:
        """Print its parameters."""
        self.print(f"candidate {number}  {show_params(params)}{shared}")

    def candidate_ended(self, number: int, how: str, values: str, params: dict[str, Any]) -> None:
        """Print its objectives, and which is ahead."""
        best = self._state().best
        ahead = "" if best is None else f", best so far: candidate {best[0]}"
        self.print(f"candidate {number}  {how}: {values}{ahead}  [{self._rest()}]")

    def _rest(self) -> str:
        state = self._state()
        left = "" if state.left_s is None else f", {seconds(state.left_s)} left"
        return f"{state.totals}{left}"


class _Live(LiveTable):
    """A table of the candidates in flight, below one line for each that has ended."""

    def __init__(self, state: Callable[[], SearchState], console: Console) -> None:
        super().__init__(lambda columns, lines: draw(state(), columns, lines), console)

    def round_done(self, record: Record) -> None:
        """Do nothing: the table shows it."""

    def trial_done(self, row: Row) -> None:
        """Do nothing: the table shows it."""

    def candidate_started(self, number: int, params: dict[str, Any], shared: str) -> None:
        """Do nothing: the table shows it."""

    def candidate_ended(self, number: int, how: str, values: str, params: dict[str, Any]) -> None:
        """Print a line above the table."""
        line = Text()
        line.append("✓ " if how == "done" else "- ", style="green" if how == "done" else "dim")
        line.append(f"candidate {number}")
        line.append(f"  {values}" + ("" if how == "done" else f"  {how}"))
        line.append(f"  {show_params(params)}", style="dim")
        self.print_line(line)


def draw(state: SearchState, columns: int, lines: int) -> RenderableType:
    """Return the table of the candidates in flight, between what is searched and how far the search is.

    Args:
        state: What is shown.
        columns: Of the terminal.
        lines: Of the terminal.
    """
    is_wide = columns >= WIDE
    aim = Text(f"{state.name}: {state.aim}", style="dim")
    best = []
    if state.best is not None:
        number, values, params = state.best
        best = [
            _line(f"best so far: candidate {number}  {show_values(state.objective, values)}  {show_params(params)}")
        ]
    left = f"{seconds(state.elapsed_s)} elapsed" + ("" if state.left_s is None else f", {seconds(state.left_s)} left")
    total: RenderableType = _line(f"{state.totals}  {left}")
    if is_wide:
        total = _total_with_bar(state, left)
    if not state.rows:
        return Group(Text(), aim, Text(), Text(state.activity, style="dim"), Text(), *best, total)
    num_rows = max(1, min(_MAX_ROWS, lines - 12))
    hidden = len(state.rows) - num_rows
    rest = [Text(f"... and {hidden} more in flight", style="dim")] if hidden > 0 else []
    table = _table(state.rows[:num_rows], state.objective, columns)
    return Group(Text(), aim, Text(), table, *rest, Text(), *best, total)


def _table(rows: Sequence[CandidateRow], objective: Sequence[Objective], columns: int) -> Table:
    is_wide = columns >= WIDE
    table = Table(box=None, padding=(0, 2 if is_wide else 1, 0, 0), header_style="dim")
    table.add_column("candidate", justify="right", no_wrap=True)
    # Rich would shrink the phase as well: what the others leave is for the parameters, of which the first matter most.
    others = 72 + sum(max(7, len(name)) + 2 for name in objective) if is_wide else 57
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", max_width=max(12, columns - others))
    table.add_column("round", justify="right", no_wrap=True)
    table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True, min_width=28 if is_wide else 18)
    shown = objective if is_wide else objective[:1]
    for name in (*shown, *(["elapsed"] if is_wide else []), "left"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    for row in rows:
        values = [_SHOWN[name](value) for name, value in zip(objective, row.values, strict=False)] or ["-"] * len(shown)
        table.add_row(
            str(row.number),
            Text(show_params(row.params)),
            f"{min(row.round, row.num_rounds - 1)}/{row.num_rounds - 1}",
            "-" if row.latest is None else str(row.latest.seed),
            _phase(row, has_bar=is_wide),
            *values[: len(shown)],
            *([seconds(row.elapsed_s)] if is_wide else []),
            seconds(row.left_s),
        )
    return table


def _phase(row: CandidateRow, *, has_bar: bool) -> RenderableType:
    if row.latest is None:
        return Text("next round" if row.values else "loading torch", style="dim")
    return show_phase(row.latest, has_bar=has_bar)


def _total_with_bar(state: SearchState, left: str) -> Table:
    total = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(1, state.num), completed=state.num_ended, width=24)
    total.add_row(bar, Text(state.totals), Text(left, style="dim"))
    return total


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def show_params(params: dict[str, Any]) -> str:
    """Return searched parameters as text: floats with four digits."""
    return "  ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )


def show_values(objective: Sequence[Objective], values: Sequence[float]) -> str:
    """Return the objectives of a candidate as text.

    Examples:
        >>> show_values(["area", "select-seconds"], [0.4567, 1.5])
        'area 45.67 %, select-seconds 1.50 s'
    """
    return ", ".join(f"{name} {_SHOWN[name](value)}" for name, value in zip(objective, values, strict=True))
