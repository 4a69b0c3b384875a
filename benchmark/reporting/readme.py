"""The results block of a README: headline, learning curves and table of a results folder, in Markdown."""

import os
from pathlib import Path
from typing import Final

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.files import FOLDER
from quadrat.benchmark.reporting.formatting import listed
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.export import to_markdown
from quadrat.benchmark.reporting.tables.results import budget_table
from quadrat.benchmark.results.markdown import markdown
from quadrat.benchmark.results.publish import CURVES, GAINS
from quadrat.benchmark.results.trials import Results, read_results
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["END", "START", "results_block", "update_readme"]

START: Final = "<!-- results:start -->"
END: Final = "<!-- results:end -->"


def update_readme(readme: Path, results_dir: Path, page: Path) -> None:
    """Replace the text between the two markers of a README by the results of a folder.

    Args:
        readme: A Markdown file with the two markers, each on a line of its own.
        results_dir: What `quadrat run` wrote.
        page: The report's page, for links.

    Raises:
        ResultsError: When the markers are not there, each once and in order.
    """
    readme = Path(readme)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ResultsError(
            f"{readme}: expected the markers {START} and {END}, each once and in this order, got "
            f"{text.count(START)} and {text.count(END)}; put them where the results belong"
        )
    block = results_block(read_results(Path(results_dir)), readme.parent, Path(page))
    before, after = text[: text.index(START)], text[text.index(END) :]
    atomic_write(readme, f"{before}{START}\n{block}{after}".encode())


def results_block(results: Results, base: Path, page: Path) -> str:
    """Return headline, figure, table, and the command, commit and hardware that made them.

    Args:
        results: At least one record of a strategy.
        base: The folder that links start from.
        page: The report's page; its figures lie beside it, unless `results` is a published folder.

    Raises:
        ResultsError: When there is no record yet.
    """
    if not results.records:
        raise ResultsError(f"{results.path}: expected records of a strategy, got none; run the suite first")
    suite, seeds = results.suite, len(results.seeds)
    summary = report_summary(results)
    what = markdown(f"{results.title} {suite['dataset']['test']}")
    spread = f"mean (std) over {seeds} seeds" if seeds > 1 else "one seed"
    made = [
        f"mIoU in % on {what}, {spread}, by labelled regions of {_sizes(results)} px and their share of the pool's "
        "pixels; highest mean of each budget in bold.",
        f"[Report]({_link(page, base)}) with intervals, label efficiency and selected regions · "
        f"[records]({_link(results.path / 'records.jsonl', base)}) · {_made(results)}",
    ]
    figures = [
        f"![{title} on {what}]({_link(_figure(results, page, published, name), base)})"
        for title, published, name in (
            *((("Gains over pixels and clicks", GAINS, "gains"),) if summary.gains is not None else ()),
            ("Learning curves", CURVES, "learning-curves-labelled-fraction"),
        )
    ]
    return (
        "\n\n".join(
            [
                f"**{markdown(summary.headline)}** {markdown(' '.join(summary.answer))}",
                *figures,
                to_markdown(budget_table(results, digits=1)),
            ]
        )
        + "\n"
        + "\n".join(made)
        + "\n"
    )


def _figure(results: Results, page: Path, published: str, name: str) -> Path:
    """Return a figure's path: a published folder has it beside its records, another in its report."""
    path = results.path / published
    return path if path.is_file() else page.parent / FOLDER / f"{name}.svg"


def _sizes(results: Results) -> str:
    return " and ".join(dict.fromkeys(str(query.region_size) for query in results.queries.values()))


def _made(results: Results) -> str:
    """Return commands, commits and hardware of the runs; several where folders were united."""
    environments = results.environments
    commands = [str(one["command"]).replace("`", "'") for one in environments if one.get("command")]
    commits = list(dict.fromkeys(f"`{one['commit'][:12]}`" for one in environments if one.get("commit")))
    parts = [f"`{command}`" for command in dict.fromkeys(commands)]
    if commits:
        parts.append(f"commit{'s' if len(commits) > 1 else ''} {listed(commits)}")
    hardware = [
        ", ".join(one.get("gpus") or ()) or (f"{one['cores']} CPU cores" if one.get("cores") else "")
        for one in environments
    ]
    return ", ".join([*parts, *filter(None, dict.fromkeys(hardware))])


def _link(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.absolute(), base.absolute())).as_posix()
