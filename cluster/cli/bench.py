"""The command that measures selection: `bench select`."""

import json
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["COMMANDS"]

_COLUMNS: Final = (
    ("strategy", "strategy"),
    ("seconds", "seconds"),
    ("peak_mib", "peak MiB"),
    ("search_s", "search alone s"),
    ("loop_s", "loop alone s"),
    ("plain_search_s", "float32 search s"),
    ("plain_loop_s", "float32 loop s"),
    ("plain_ratio", "ratio"),
    ("plain_ratio_loop", "loop alone"),
    ("reference_search_s", "float64 search s"),
    ("reference_loop_s", "float64 loop s"),
    ("reference_ratio", "ratio"),
    ("reference_ratio_loop", "loop alone"),
)


@click.group()
def bench() -> None:
    """Measure speed and memory, as ratios to a plain reference in the same run."""


@bench.command()
@click.option("--regions", type=click.IntRange(min=1), default=380_800, show_default=True, help="Size of the pool")
@click.option("--features", type=click.IntRange(min=1), default=128, show_default=True, help="Dimension of a feature")
@click.option(
    "--labelled", type=click.IntRange(min=0), default=16_000, show_default=True, help="Regions labelled before"
)
@click.option("--budget", type=click.IntRange(min=1), default=16_000, show_default=True, help="Picks")
@click.option("--strategy", "strategies", metavar="NAME", multiple=True, help="Only this one (repeatable)")
@click.option(
    "--pool",
    "pool_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A recorded pool (npz) in place of a synthetic one",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="The fastest of so many calls"
)
@click.option(
    "--plain-picks", type=click.IntRange(min=1), default=20, show_default=True, help="Timed of the float32 loop"
)
@click.option(
    "--reference-picks",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Timed of the float64 reference; 0: leave it out",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def select(
    regions: int,
    features: int,
    labelled: int,
    budget: int,
    strategies: tuple[str, ...],
    pool_file: Path | None,
    repeats: int,
    plain_picks: int,
    reference_picks: int,
    is_json: bool,
) -> None:
    """Time whole `select` calls: the paper's table V-G for any pool.

    Against two plain loops in the same run: a float32 one tuned with numpy and faiss, and the float64 reference that
    defines the picks. Both do the same work for every pick, so a few picks are timed and the totals are extrapolated,
    as are their searches to the labelled regions. `ratio` is search and loop over the seconds of the call; `loop
    alone` starts all from known distances to what is labelled.
    """
    from quadrat.benchmark.planning.selection_time import STRATEGIES, bench_select, read_pool, synthetic_pool

    if pool_file is not None:
        pool = read_pool(pool_file)
    else:
        pool = synthetic_pool(num_regions=regions, num_features=features, num_labelled=labelled)
    result = bench_select(
        pool,
        strategies=strategies or STRATEGIES,
        budget=budget,
        plain_picks=plain_picks,
        reference_picks=reference_picks,
        repeats=repeats,
        on_row=None if is_json else _tell,
    )
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    size = result["pool"]
    click.echo(
        f"{size['num_regions']:,} regions, {size['num_features']}-d features ({size['features_mib']:,} MiB), "
        f"{size['num_labelled']:,} labelled, {budget:,} picks, {result['cpus']} CPUs, load {result['load_1min']}"
    )


def _tell(row: dict[str, Any]) -> None:
    """Print a row as soon as it is measured: a whole table may take minutes."""
    shown = (f"{name} {row[key]}" for key, name in _COLUMNS if row.get(key) is not None)
    click.echo("  ".join(shown))


COMMANDS: Final = (bench,)
