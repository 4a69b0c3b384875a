"""Commands on data sets: `data init`, `data check` and `data pack`."""

import dataclasses
import functools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from quadrat.cluster.cli.console import pasteable, say, show_progress
from quadrat.cluster.cli.options import read_params, results_option, root_option, suite_arguments
from quadrat.cluster.cli.places import open_suite

__all__ = ["COMMANDS"]


@click.group()
def data() -> None:
    """Describe, check and pack data sets."""


@data.command()
@click.argument("name")
@root_option("$QUADRAT_DATA/NAME")
@click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="Parameter of its loader (repeatable)")
@click.option("--split", "splits", multiple=True, help="Only this split (repeatable)")
@click.option("--regions", metavar="KIND", help="Cut the images into regions too: a kind, or a folder of region maps")
@click.option("--region-size", type=click.IntRange(min=1), default=24, show_default=True, help="For --regions, pixels")
def check(
    name: str,
    root: Path | str | None,
    params: Sequence[str],
    splits: Sequence[str],
    regions: str | None,
    region_size: int,
) -> None:
    """Report sizes, class frequencies and problems of a data set.

    Your own images are the data set folder; `quadrat data init DIR` describes them.
    """
    from quadrat.benchmark.data import load_dataset
    from quadrat.benchmark.data.check import check as check_dataset
    from quadrat.benchmark.storage.local_copy import fetch

    if isinstance(root, str):
        root = fetch(root, functools.partial(show_progress, f"fetching {name}"))
    dataset = load_dataset(name, root, **read_params(params))
    report = check_dataset(dataset, splits or None, show_progress)
    if regions is not None:
        from quadrat.benchmark.data.shapes import load_kind
        from quadrat.benchmark.data.shapes.inspection import region_findings

        kind = load_kind("files", folder=regions) if Path(regions).is_dir() else load_kind(regions)
        found = region_findings(dataset, splits or dataset.splits, kind, region_size, show_progress)
        report = dataclasses.replace(report, findings=(*report.findings, *found))
    say(report.render())
    sys.exit(1 if report.problems else 0)


@data.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--name", help="Name of data set and suite. Default: that of DIR")
@click.option("--force", is_flag=True, help="Overwrite what an earlier call wrote")
def init(folder: Path, name: str | None, force: bool) -> None:
    """Describe the images and masks in DIR: write manifest and suite.

    It looks at names and mask values, and says what it assumed.
    """
    from quadrat.benchmark.config.suite import NAME
    from quadrat.benchmark.data.proposal.propose import propose, suite_name
    from quadrat.benchmark.storage.atomic import atomic_write

    own = suite_name(folder) if name is None else name
    if not re.fullmatch(NAME, own):
        raise click.ClickException(f"--name: expected letters, digits, '.', '_' and '-', got {own!r}")
    manifest, suite = folder / "manifest.json", folder / f"{own}.yaml"
    _refuse_existing(manifest, suite, is_forced=force)
    found = propose(folder, own)
    _refuse_existing(*(folder / file for file in found.lists), is_forced=force)
    for file, content in found.lists.items():
        atomic_write(folder / file, content.encode())
    atomic_write(manifest, f"{json.dumps(found.manifest, indent=1, ensure_ascii=False)}\n".encode())
    atomic_write(suite, found.suite.encode())
    for sentence in found.assumptions:
        say(f"assumed: {sentence}")
    click.echo(
        f"\nwrote {manifest} and {suite}. Next:\n"
        f"  {pasteable('data', 'check', 'folder', '--root', folder)}\n"
        f"  {pasteable('show', suite, '--plan')}\n"
        f"  {pasteable('run', suite, '--set', 'seeds=[0]')}\n"
        f"  {pasteable('run', suite)}"
    )


def _refuse_existing(*paths: Path, is_forced: bool) -> None:
    if not is_forced and (there := [path.name for path in paths if path.exists()]):
        raise click.ClickException(
            f"{paths[0].parent} has {' and '.join(there)}. Remove it, or overwrite it with --force."
        )


@data.command()
@suite_arguments
@results_option
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="As for run")
def pack(suite_name: str, settings: Sequence[str], results: Path | str | None, cache: Path | None) -> None:
    """Pack the images of SUITE into the cache of `quadrat run`.

    They are decoded once, with all checks that a run makes of its data.
    """
    from quadrat.benchmark.trial.data import open_data

    suite, results_dir = open_suite(suite_name, settings, results)
    data = open_data(suite, cache.expanduser().absolute() if cache else results_dir / "cache", show_progress)
    for split in (data.pool, data.test):
        click.echo(f"{split.split}: {len(split.ids)} images, fingerprint {split.fingerprint[:12]}, {split.path}")
    for warning in data.warnings:
        click.echo(f"! {warning}", err=True)


COMMANDS: Final = (data,)
