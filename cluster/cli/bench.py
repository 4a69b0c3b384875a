"""The commands that measure parts of a trial: `bench select`, `bench alignment`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from quadrat.cluster.cli.console import say
from quadrat.cluster.cli.options import suite_arguments
from quadrat.cluster.cli.places import open_suite

__all__ = ["COMMANDS"]

_COLUMNS: Final = (
    ("strategy", "strategy"),
    ("seconds", "seconds"),
    ("grid_seconds", "grid s"),
    ("grid_factor", "of the grid's"),
    ("peak_mib", "peak MiB"),
    ("search_s", "search s"),
    ("loop_s", "loop s"),
    ("baseline_search_s", "baseline search s"),
    ("baseline_loop_s", "baseline loop s"),
    ("baseline_ratio", "ratio"),
    ("baseline_ratio_loop", "ratio of loops"),
    ("reference_search_s", "reference search s"),
    ("reference_loop_s", "reference loop s"),
    ("reference_ratio", "ratio"),
    ("reference_ratio_loop", "ratio of loops"),
)


@click.group()
def bench() -> None:
    """Measure the speed of selection, or where features lie."""


@bench.command()
@click.option("--regions", type=click.IntRange(min=1), default=380_800, show_default=True, help="Number of regions")
@click.option("--features", type=click.IntRange(min=1), default=128, show_default=True, help="Dimension of a feature")
@click.option(
    "--labelled", type=click.IntRange(min=0), default=16_000, show_default=True, help="Number of labelled regions"
)
@click.option("--budget", type=click.IntRange(min=1), default=16_000, show_default=True, help="Regions to select")
@click.option("--strategy", "strategies", metavar="NAME", multiple=True, help="Only this one (repeatable)")
@click.option(
    "--pool",
    "pool_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A pool written by write_pool (npz) in place of a synthetic one",
)
@click.option(
    "--jitter",
    type=click.FloatRange(min=0, max=0.5, max_open=True),
    metavar="SHARE",
    help="Regions of any shape: centres moved by up to this share of a region, timed in turns with the grid",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Timed calls; the fastest counts"
)
@click.option(
    "--baseline-steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Timed steps of the float32 baseline",
)
@click.option(
    "--reference-steps",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Timed steps of the float64 reference implementation; 0: leave it out",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def select(
    regions: int,
    features: int,
    labelled: int,
    budget: int,
    strategies: tuple[str, ...],
    pool_file: Path | None,
    jitter: float | None,
    repeats: int,
    baseline_steps: int,
    reference_steps: int,
    is_json: bool,
) -> None:
    """Time whole `select` calls: the paper's table V-G for any pool.

    Compares them with two naive baselines in the same run: a float32 loop in numpy and faiss (`baseline`), and the
    float64 reference implementation that defines the selection (`reference`). All their steps cost the same, so a few
    are timed and the totals are extrapolated, as are their searches for the nearest labelled regions. `ratio` is their
    search and loop over the seconds of the call; `ratio of loops` compares the loops alone, after the search.
    """
    from quadrat.benchmark.planning.selection_time import (
        STRATEGIES,
        bench_select,
        jittered,
        read_pool,
        synthetic_pool,
    )

    if pool_file is not None:
        pool = read_pool(pool_file)
    else:
        pool = synthetic_pool(num_regions=regions, num_features=features, num_labelled=labelled)
    result = bench_select(
        pool if jitter is None else jittered(pool, jitter),
        strategies=strategies or STRATEGIES,
        budget=budget,
        baseline_steps=baseline_steps,
        reference_steps=reference_steps,
        repeats=repeats,
        grid=None if jitter is None else pool,
        on_row=None if is_json else _print_row,
    )
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    size = result["pool"]
    click.echo(
        f"{size['num_regions']:,} regions, {size['num_features']}-d features ({size['features_mib']:,} MiB), "
        f"{size['num_labelled']:,} labelled, budget {budget:,}, {result['cpus']} CPUs, load {result['load_1min']}"
    )


@bench.command()
@suite_arguments
@click.option(
    "--inputs", type=click.IntRange(min=2), default=16, show_default=True, help="Random inputs that are averaged over"
)
def alignment(suite_name: str, settings: Sequence[str], inputs: int) -> None:
    """Measure how far a recipe's features lie from their cells.

    Builds the network of SUITE with its initial weights and prints, for the encoder's two maps and the decoder's
    features, how many pixels further down and to the right than the cell the receptive field lies, with the standard
    error. Nothing is corrected: training puts predictions on the pixels of their labels.
    """
    from quadrat.benchmark.learning.network.alignment import network_offsets
    from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
    from quadrat.benchmark.learning.network.weights import load_weights
    from quadrat.benchmark.seeds import torch_seed

    recipe = open_suite(suite_name, settings).suite.learner
    encoder = build_encoder(recipe, load_weights(recipe.encoder, recipe.weights), seed=torch_seed(0, "weights"))
    decoder = build_decoder(recipe, encoder.channels, 2, seed=torch_seed(0, "weights"))
    click.echo(f"{recipe.encoder}, {recipe.weights} weights, {inputs} inputs; pixels")
    offsets = network_offsets(Network(encoder, decoder), seed=torch_seed(0, "alignment"), num_inputs=inputs)
    for name, offset in offsets.items():
        down = f"{offset.down:+.1f} ({offset.down_error:.1f})"
        click.echo(f"{name:<10} down {down:<12} right {offset.right:+.1f} ({offset.right_error:.1f})")


def _print_row(row: dict[str, Any]) -> None:
    """Print a row as soon as it is measured: the whole table may take minutes."""
    shown = (f"{name} {row[key]}" for key, name in _COLUMNS if row.get(key) is not None)
    say("  ".join(shown))


COMMANDS: Final = (bench,)
