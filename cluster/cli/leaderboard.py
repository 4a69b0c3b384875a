"""The command `leaderboard`: several results folders on one page and in one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from quadrat.cluster.cli.console import text_columns
from quadrat.cluster.cli.extras import require_extras
from quadrat.cluster.cli.options import results_argument
from quadrat.cluster.cli.places import local_copy

__all__ = ["COMMANDS", "folder_names"]


@click.command()
@results_argument(is_many=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard"),
    show_default=True,
    metavar="DIR",
    help="Folder of the page",
)
@click.option(
    "strategies",
    "--strategy",
    metavar="NAME",
    multiple=True,
    help="Rank these strategies, as the table names them (repeatable). Default: those of the largest table without a "
    "gap",
)
def leaderboard(results: Sequence[Path | str], out: Path, strategies: Sequence[str]) -> None:
    """Compare several results folders: data sets, settings, seeds.

    Only trials of one protocol (images, splits, regions, budgets, recipe) are compared, whoever ran them; what differs
    is said. Mean ranks, shares won, areas relative to Random and to full supervision, over labelled pixels and over
    clicks. The page is one file; its tables lie beside it as CSV.
    """
    require_extras(["report"], what="quadrat leaderboard")
    from quadrat.benchmark.analysis.leaderboard import leaderboard as compare
    from quadrat.benchmark.reporting import leaderboard_text, write_leaderboard
    from quadrat.benchmark.results.trials import read_results

    folders = {name: read_results(local_copy(one)) for name, one in zip(folder_names(results), results, strict=True)}
    found = compare(folders, strategies)
    page = write_leaderboard(found, folders, out)
    click.echo(leaderboard_text(found, folders, text_columns()), nl=False)
    click.echo(page)


def folder_names(results: Sequence[Path | str]) -> list[str]:
    """Return a name for each of several results: the last part of the path, or as much of it as tells them apart.

    Raises:
        QuadratError: When one is named twice.
    """
    from quadrat.benchmark.errors import QuadratError
    from quadrat.benchmark.redaction import redact_url

    texts = [redact_url(one) if isinstance(one, str) else one.expanduser().absolute().as_posix() for one in results]
    parts = [text.rstrip("/").split("/") for text in texts]
    for text in texts:
        if texts.count(text) > 1:
            raise QuadratError(f"expected each results folder once, got {text} {texts.count(text)} times")
    names = []
    for own in parts:
        num = 1
        while sum(other[-num:] == own[-num:] for other in parts) > 1:
            num += 1
        names.append("/".join(own[-num:]))
    return names


COMMANDS: Final = (leaderboard,)
