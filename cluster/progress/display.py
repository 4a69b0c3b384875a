"""Output of a run: a live table in a terminal, one line per round elsewhere."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.progress.progress import Row, RunProgress

__all__ = [
    "WIDE",
    "Display",
    "LineDisplay",
    "Lines",
    "LiveDisplay",
    "LiveTable",
    "make_console",
    "open_display",
    "percent",
    "print_line",
    "seconds",
    "short",
    "show_phase",
]

_REDRAW_EVERY_S: Final = 0.25
_MAX_ROWS: Final = 30
WIDE: Final = 110
"""Columns of a terminal from which on all is shown; 80 hold a trial in a line too, without bars and elapsed time."""


def seconds(value_s: float | None) -> str:
    """Return a duration in its two largest units.

    Examples:
        >>> [seconds(value) for value in (None, 4.2, 75, 3600, 7384)]
        ['-', '4s', '1m 15s', '1h 00m', '2h 03m']
    """
    if value_s is None:
        return "-"
    whole = round(value_s)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def short(path: Path) -> Path:
    """Return `path` relative to the working directory where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def percent(fraction: float | None) -> str:
    """Return a fraction in percent.

    Examples:
        >>> percent(0.4567)
        '45.7 %'
    """
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


class Display(Protocol):
    """Shows the progress of a run while its context is open."""

    def __enter__(self) -> Self:
        """Start to show progress."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; printed lines stay."""

    def refresh(self) -> None:
        """Redraw, if the display is drawn at all."""

    def print(self, text: str) -> None:
        """Print a line that stays."""

    def round_done(self, record: Record) -> None:
        """Called when a round is recorded."""

    def trial_done(self, row: Row) -> None:
        """Called when a trial is complete."""


def open_display(progress: RunProgress, title: str, stream: TextIO | None = None) -> Display:
    """Return a live table for a terminal, a line per round for anything else."""
    stream = stream or sys.stdout
    console = make_console(stream)
    return LiveDisplay(progress, title, console) if console.is_terminal else LineDisplay(progress, stream)


def make_console(stream: TextIO) -> Console:
    """Return a console without markup and emoji: labels come from suites, and "top[/x]" is one."""
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def print_line(text: str, stream: TextIO) -> None:
    """Print `text` with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=stream, flush=True)


class Lines:
    """Lines with the time of day, for log files and pipes.

    Args:
        stream: Where they are printed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def refresh(self) -> None:
        """Do nothing: there is nothing to redraw."""

    def print(self, text: str) -> None:
        """Print `text` with the time of day."""
        print_line(text, self._stream)

    def print_round(self, record: Record, of_rounds: str, rest: str) -> None:
        """Print cost, mIoU and duration of a round.

        Args:
            record: Of the round.
            of_rounds: What follows its number, such as "/3" for the last of four.
            rest: How far the whole is.
        """
        self.print(
            f"{record.label}  seed {record.seed}  round {record.round}{of_rounds}  "
            f"{record.regions} regions ({percent(record.labelled_fraction)})  mIoU {percent(record.miou)}  "
            f"{seconds(sum(record.seconds.values()))}  [{rest}]"
        )


class LineDisplay(Lines):
    """One line per round, for log files and pipes.

    Args:
        progress: Progress of the run.
        stream: Where lines are printed.
    """

    def __init__(self, progress: RunProgress, stream: TextIO) -> None:
        super().__init__(stream)
        self._progress = progress
        self._left_s: float | None = None
        self._left_at_s = float("-inf")

    def _time_left_s(self) -> float | None:
        """Return the time left, of many trials in flight at most a second old: it is a sum over all of them."""
        now_s = time.monotonic()
        if len(self._progress.rows) <= _MAX_ROWS or now_s - self._left_at_s >= 1.0:
            self._left_s, self._left_at_s = self._progress.left_s(), now_s
        return self._left_s

    def round_done(self, record: Record) -> None:
        """Print cost, mIoU and duration of the round, and how far the run is."""
        progress = self._progress
        last = progress.rows[record.trial_id].spec.num_rounds - 1
        done = f"{progress.num_rounds_done}/{progress.num_rounds} rounds"
        self.print_round(record, f"/{last}", f"{done}, {seconds(self._time_left_s())} left")

    def trial_done(self, row: Row) -> None:
        """Do nothing: the line of its last round was printed."""


class LiveTable:
    """A table that is redrawn in place, below lines that stay.

    Args:
        draw: Returns the table for a terminal of so many columns and lines.
        console: A terminal.
    """

    def __init__(self, draw: Callable[[int, int], RenderableType], console: Console) -> None:
        self._draw = draw
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn_s = float("-inf")
        self._said = ""  # what was printed last, so that the table need not say it again

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def refresh(self) -> None:
        """Redraw the table, at most four times a second."""
        now_s = time.monotonic()
        if now_s - self._drawn_s >= _REDRAW_EVERY_S:
            self._drawn_s = now_s
            console = self._live.console
            self._live.update(self._draw(console.width, console.height), refresh=True)

    def print(self, text: str) -> None:
        """Print `text` above the table."""
        self._said = text
        self._live.console.print(Text(text))

    def print_line(self, line: Text) -> None:
        """Print a line above the table, what is wider than the terminal in further lines, indented."""
        console, indent = self._live.console, "  "
        for number, part in enumerate(line.wrap(console, max(1, console.width - len(indent)))):
            console.print(part if number == 0 else Text(indent).append_text(part))


class LiveDisplay(LiveTable):
    """A table of the trials in flight, below one line for each trial that is complete.

    Args:
        progress: Progress of the run.
        title: Name of the suite.
        console: A terminal.
    """

    def __init__(self, progress: RunProgress, title: str, console: Console) -> None:
        super().__init__(lambda columns, lines: draw(progress, title, columns, lines, said=self._said), console)
        self._progress = progress

    def round_done(self, record: Record) -> None:
        """Do nothing: the table shows it."""

    def trial_done(self, row: Row) -> None:
        """Print a line above the table."""
        line = Text("✓ ", style="green")
        line.append(f"{row.spec.label}  seed {row.spec.seed}", style="default")
        took = seconds(self._progress.row_elapsed_s(row))
        line.append(
            f"   {row.num_done} {'round' if row.num_done == 1 else 'rounds'}   mIoU {percent(row.miou)}   {took}",
            style="dim",
        )
        self.print_line(line)


def draw(
    progress: RunProgress, title: str, columns: int = WIDE, lines: int = _MAX_ROWS + 6, *, said: str = ""
) -> RenderableType:
    """Return the table of the trials in flight and the bar of the whole run.

    Rounds are counted from 0, as in records: "2/3" is the round that runs, of 0 to 3.

    Args:
        progress: What is shown.
        title: Name of the suite.
        columns: Of the terminal.
        lines: Of the terminal.
        said: What stands above the table: an activity that it names is not repeated.
    """
    is_wide = columns >= WIDE
    table = Table(box=None, padding=(0, 2 if is_wide else 1, 0, 0), header_style="dim")
    hosts = {row.host for row in progress.rows.values()}
    table.add_column("trial", no_wrap=True, max_width=32 if is_wide else 16 if len(hosts) > 1 else 28)
    for name in ("seed", "round"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True, min_width=24 if is_wide else 16)
    for name in ("mIoU", "elapsed", "left") if is_wide else ("mIoU", "left"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    if len(hosts) > 1:
        table.add_column("machine", no_wrap=True)
    num_rows = max(1, min(_MAX_ROWS, lines - 6))
    for row in list(progress.rows.values())[:num_rows]:
        cells: list[RenderableType] = [
            Text(row.spec.label),
            str(row.spec.seed),
            f"{min(row.num_done, row.spec.num_rounds - 1)}/{row.spec.num_rounds - 1}",
            show_phase(row.latest, has_bar=is_wide),
            percent(row.miou),
            *([seconds(progress.row_elapsed_s(row))] if is_wide else []),
            seconds(progress.row_left_s(row)),
        ]
        table.add_row(*cells, *([row.host] if len(hosts) > 1 else []))
    if not progress.rows:
        activity = [] if progress.activity == said else [Text(progress.activity, style="dim"), Text()]
        return Group(Text(), *activity, _overall(progress, title, is_wide=is_wide))
    hidden = len(progress.rows) - num_rows
    rest = [Text(f"... and {hidden} more in flight", style="dim")] if hidden > 0 else []
    return Group(Text(), table, *rest, Text(), _overall(progress, title, is_wide=is_wide))


def show_phase(latest: Progress | None, *, has_bar: bool) -> RenderableType:
    """Return the phase of a trial with the steps done; None stands for a trial that is being opened."""
    if latest is None:
        return Text("opening", style="dim")
    if latest.phase == "wait":
        return Text("waiting for a shared fit" if has_bar else "waits for a fit", style="dim")
    if not latest.total:
        return Text(latest.phase)
    if not has_bar:
        return Text(f"{latest.phase:<8} {latest.done}/{latest.total}")
    cell = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=latest.total, completed=latest.done, width=8)
    cell.add_row(Text(f"{latest.phase:<8}"), bar, Text(f"{latest.done}/{latest.total}", style="dim"))
    return cell


def _overall(progress: RunProgress, title: str, *, is_wide: bool) -> RenderableType:
    failed = f" · {progress.num_failed} failed" if progress.num_failed else ""
    if not is_wide:
        text = Text(title, style="bold", no_wrap=True, overflow="ellipsis")
        text.append(
            f"  {progress.num_complete}/{progress.num_trials} trials  "
            f"{progress.num_rounds_done}/{progress.num_rounds} rounds{failed}  {seconds(progress.left_s())} left",
            style="not bold",
        )
        return text
    line = Table.grid(padding=(0, 2))
    line.add_row(
        Text(title, style="bold"),
        ProgressBar(total=max(1, progress.num_rounds), completed=progress.num_rounds_done, width=24),
        Text(f"{progress.num_complete}/{progress.num_trials} trials"),
        Text(f"{progress.num_rounds_done}/{progress.num_rounds} rounds{failed}"),
        Text(f"{seconds(progress.elapsed_s)} elapsed, {seconds(progress.left_s())} left", style="dim"),
    )
    return line
