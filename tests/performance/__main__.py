"""The measuring harness: `python -m performance COMMAND`, see `--help`.

Or `make bench`.
"""

import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from performance.device_selection import STRATEGIES, bench_device_selection
from performance.digests import bench_digests
from performance.gpu.card import floors, measure_rates, work_of_recipe
from performance.learner import (
    Case,
    bench_fit,
    bench_growth,
    bench_score,
    bench_shapes,
    bench_together,
    open_case,
    profile_side,
)
from performance.learner.sides import SIDES
from performance.selection import PROBLEMS, bench_rivals, bench_strategies
from performance.selection_side import Problem
from quadrat.benchmark.learning.runtime import resolve_device
from quadrat.cluster.cli.main import Commands
from quadrat.cluster.cli.options import suite_arguments
from quadrat.cluster.cli.places import open_suite


@click.group(cls=Commands)
def bench() -> None:
    """Measure speed and memory, as ratios to a naive baseline in the same run."""


def _case_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `bench fit` and `bench score` have in common."""
    options = (
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
        click.option(
            "--threads", type=click.IntRange(min=1), help="torch's threads of either side. Default: all cores"
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            help="Processes that decode for the naive baseline. Default: 2, CUDA 8",
        ),
        click.option(
            "--images", type=click.IntRange(min=8), default=48, show_default=True, help="Images; a smaller pool repeats"
        ),
        click.option(
            "--size",
            callback=_read_size,
            metavar="HEIGHTxWIDTH",
            help="Street scenes of this size (19 classes, PNG files in a temporary folder) in place of the data set",
        ),
        click.option(
            "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Paired blocks of both sides"
        ),
        click.option("--json", "is_json", is_flag=True, help="Print one JSON object"),
    )
    for option in reversed(options):
        command = option(command)
    return suite_arguments(command)


def _read_size(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) >= 32 for side in sides):
        raise click.BadParameter(f"expected HEIGHTxWIDTH of 32 pixels or more, such as 1024x2048, got '{text}'")
    return int(sides[0]), int(sides[1])


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that its folder goes and its processes end."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _opened_case(
    suite_name: str,
    settings: Sequence[str],
    *,
    device: str,
    threads: int | None,
    workers: int | None,
    images: int,
    size: tuple[int, int] | None,
) -> "Iterator[Case]":
    """Yield the case of a suite in a temporary folder."""
    suite = open_suite(suite_name, settings).suite
    resolve_device(device)
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="quadrat-bench-") as folder:
        yield open_case(
            suite,
            Path(folder),
            num_images=images,
            size=size,
            device=device,
            threads=threads or os.cpu_count() or 1,
            workers=workers if workers is not None else (2 if device == "cpu" else 8),
        )


@bench.command()
@_case_options
@click.option(
    "--iterations", type=click.IntRange(min=1), default=12, show_default=True, help="Of a block, after its warm-up"
)
def fit(suite_name: str, settings: Sequence[str], iterations: int, repeats: int, is_json: bool, **case: Any) -> None:
    """Time training by SUITE's recipe against the naive baseline.

    The naive baseline is segmentation-models-pytorch's DeepLabV3Plus with a DataLoader, PIL, torchvision's transforms
    and fp32. Each side runs in a process of its own, and they take turns; the ratio is the median over pairs of blocks.
    The output lists what is equal and what is not.
    """
    with _opened_case(suite_name, settings, **case) as opened:
        _print_comparison(
            bench_fit(
                opened,
                iterations=iterations,
                repeats=repeats,
                on_row=functools.partial(_print_rates, to_stderr=is_json),
            ),
            is_json,
        )


@bench.command()
@_case_options
@click.option(
    "--growth",
    metavar="N,N,...",
    callback=lambda context, option, text: _read_counts(text),
    help="Measure memory instead: score so many images, each number in a process of its own, arrays on the disk",
)
def score(
    suite_name: str, settings: Sequence[str], growth: tuple[int, ...], repeats: int, is_json: bool, **case: Any
) -> None:
    """Time scoring of a whole pool by SUITE's recipe against the naive baseline.

    The naive baseline takes the softmax of each image at full resolution to numpy for its entropy and then the means
    over regions. quadrat is also compared with the forward pass alone of the same network.
    """
    if growth:
        case["images"] = max(growth)
    with _opened_case(suite_name, settings, **case) as opened:
        if growth:
            result = bench_growth(opened, growth, on_row=functools.partial(_print_pair, to_stderr=is_json))
            if is_json:
                click.echo(json.dumps(result, indent=1))
        else:
            result = bench_score(opened, repeats=repeats, on_row=functools.partial(_print_rates, to_stderr=is_json))
            _print_comparison(result, is_json)


@bench.command()
@_case_options
def shapes(suite_name: str, settings: Sequence[str], repeats: int, is_json: bool, **case: Any) -> None:
    """Time scoring of a whole pool on superpixels (SLIC, SEEDS) against the same pass on the grid.

    Seconds are CPU time on a CPU, so other programs hardly lengthen them.
    """
    with _opened_case(suite_name, settings, **case) as opened:
        result = bench_shapes(opened, repeats=repeats, on_row=functools.partial(_print_pair, to_stderr=is_json))
    if is_json:
        click.echo(json.dumps(result, indent=1))


@bench.command()
@_case_options
@click.option(
    "--trials",
    "num_trials",
    metavar="N,N,...",
    default="1,2,4",
    show_default=True,
    callback=lambda context, option, text: _read_counts(text),
    help="So many at once, each number against one alone",
)
@click.option("--phase", type=click.Choice(["fit", "score"]), default="fit", show_default=True)
@click.option("--iterations", type=click.IntRange(min=1), default=12, show_default=True, help="Of a block of phase fit")
def together(
    suite_name: str,
    settings: Sequence[str],
    num_trials: tuple[int, ...],
    phase: Literal["fit", "score"],
    iterations: int,
    repeats: int,
    is_json: bool,
    **case: Any,
) -> None:
    """Time several trials of SUITE's recipe at once against one that has the machine alone.

    On a CPU they divide the threads among them: says which `resources.cpus` gives a suite the most. On CUDA they share
    the device: says whether `resources.gpus` below 1 pays.
    """
    with _opened_case(suite_name, settings, **case) as opened:
        result = bench_together(
            opened,
            num_trials,
            phase=phase,
            count=iterations if phase == "fit" else len(opened.files),
            repeats=repeats,
            on_row=functools.partial(_print_pair, to_stderr=is_json),
        )
    if is_json:
        click.echo(json.dumps(result, indent=1))


@bench.command("profile")
@_case_options
@click.option("--side", type=click.Choice(sorted(SIDES)), default="quadrat fit", show_default=True)
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="Iterations, or images")
def show_profile(
    suite_name: str, settings: Sequence[str], side: str, count: int, repeats: int, is_json: bool, **case: Any
) -> None:
    """Say where the time of one side goes: kernels by device time, operators by processor time."""
    with _opened_case(suite_name, settings, **case) as opened:
        result = profile_side(opened, side, count)
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    shares = f"{result['device_ms']} of {result['elapsed_ms']} ms in kernels"
    click.echo(f"{side}: {result['images_per_s']} images/s, {shares}")
    for kind in ("kernels", "operators"):
        click.echo(f"{kind}:")
        for row in result[kind]:
            click.echo(f"{row['ms']:10.2f} ms {row['calls']:6} x  {row['name']}")


def _read_counts(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    if not all(part.isdigit() and int(part) > 0 for part in text.split(",")):
        raise click.BadParameter(f"expected whole numbers above 0, such as 1,2,4, got '{text}'")
    return tuple(int(part) for part in text.split(","))


def _print_rates(row: dict[str, Any], *, to_stderr: bool = False) -> None:
    click.echo("  ".join(f"{name} {value} images/s" for name, value in row.items()), err=to_stderr)


def _print_pair(row: dict[str, Any], *, to_stderr: bool = False) -> None:
    click.echo("  ".join(f"{name} {value}" for name, value in row.items() if value is not None), err=to_stderr)


def _print_comparison(result: dict[str, Any], is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        shown = [f"{row['images_per_s']} images/s"]
        if row["waiting_share"] is not None:
            shown.append(f"waiting for data {row['waiting_share']:.0%}")
        if row["gpu_busy_share"] is not None:
            shown.append(f"GPU busy {row['gpu_busy_share']:.0%}")
        shown.append(f"peak {row['peak_mib']:,} MiB")
        if row["device_peak_mib"] is not None:
            shown.append(f"on the device {row['device_peak_mib']:,} MiB")
        if "over_forward" in row:
            shown.append(f"{row['over_forward']:+.0%} over the forward pass")
        click.echo(f"{row['side']}: " + ", ".join(shown))
    num_pairs = len(result["ratios"])
    spread = f"{min(result['ratios'])} to {max(result['ratios'])} over {num_pairs} pairs"
    spread = spread if num_pairs > 1 else "one pair, so no range: --repeats 5 gives one"
    click.echo(f"ratio {result['ratio']} ({spread}), load {result['load_1min']}")
    for name, title in (("equal", "equal"), ("not_equal", "not equal"), ("not_measured", "not measured")):
        if result[name]:
            click.echo(f"{title}: " + "; ".join(result[name]))


@bench.command()
@click.option("--seeds", "num_seeds", type=click.IntRange(min=1), default=32, show_default=True, help="Two trials each")
@click.option("--iterations", type=click.IntRange(min=1), default=30, show_default=True, help="Training steps of a fit")
@click.option("--actors", type=click.IntRange(min=1), default=2, show_default=True, help="Trials in flight")
@click.option("logs_to_mlflow", "--mlflow/--no-mlflow", default=False, show_default=True, help="Log to MLflow too")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def overhead(num_seeds: int, iterations: int, actors: int, logs_to_mlflow: bool, is_json: bool) -> None:
    """Run a suite of many short trials on Ray, and compare its wall time with that of the trials alone."""
    from performance.overhead import bench_overhead  # here: it imports Ray, which the other commands do without

    with contextlib.redirect_stdout(sys.stderr):  # the run's own lines
        result = bench_overhead(
            num_seeds=num_seeds, iterations=iterations, actors=actors, logs_to_mlflow=logs_to_mlflow
        )
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    click.echo(
        f"{result['trials']} trials on {actors} actors: {result['wall_s']} s, of which Ray starts for "
        f"{result['ray_start_s']} s; the trials alone: {result['trials_s']} s / {actors}\n"
        f"ratio {result['ratio']} (at most {result['limit']}); workers opened the data for {result['opening_s']} s, "
        f"waited for shared fits for {result['waited_s']} s; load {result['load_1min']} on {result['cpus']} CPUs"
    )


@bench.command()
@click.option(
    "--trials",
    "num_trials",
    metavar="N,N,...",
    default="100,1000,10000",
    show_default=True,
    callback=lambda context, option, text: _read_counts(text),
    help="Sizes of a suite, each in a process of its own",
)
@click.option("--workers", type=click.IntRange(min=1), default=1000, show_default=True, help="Trials in flight")
@click.option("--reports", is_flag=True, help="Compute statistics and report as well")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def scale(num_trials: tuple[int, ...], workers: int, reports: bool, is_json: bool) -> None:
    """Add up what the driver of a large suite spends, on workers that only send events."""
    from performance.scale import bench_scale  # here, as above

    result = bench_scale(
        num_trials, num_workers=workers, reports=reports, on_row=functools.partial(_print_pair, to_stderr=is_json)
    )
    if is_json:
        click.echo(json.dumps(result, indent=1))


@bench.command()
@click.option("--mib", type=click.IntRange(min=16), default=512, show_default=True, help="Size of the file")
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Pairs")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object")
def digests(mib: int, repeats: int, is_json: bool) -> None:
    """Time reading a file with the check of its digest against reading alone."""
    with tempfile.TemporaryDirectory(prefix="quadrat-bench-") as folder:
        result = bench_digests(Path(folder), mib=mib, repeats=repeats)
    if is_json:
        click.echo(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        click.echo(
            f"from the {row['from']}: {row['read_gib_per_s']} GiB/s read, {row['checked_gib_per_s']} GiB/s checked, "
            f"ratio {row['ratio']} ({min(row['ratios'])} to {max(row['ratios'])}), load {result['load_1min']}"
        )


_threads_option = click.option(
    "--threads",
    metavar="N,N,...",
    default="1",
    show_default=True,
    callback=lambda context, option, text: _read_counts(text),
    help="Numbers of threads, each in a process of its own",
)


def _pool_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add which strategies select, from a pool of which size."""
    options = (
        click.argument("names", metavar="[NAME]...", nargs=-1),
        click.option("--regions", type=click.IntRange(min=128), default=380_800, show_default=True),
        click.option(
            "--features", type=click.IntRange(min=1), default=128, show_default=True, help="Dimension of a feature"
        ),
        click.option("--labelled", type=click.IntRange(min=1), default=16_000, show_default=True),
        click.option("--budget", type=click.IntRange(min=1), default=16_000, show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


_limit_option = click.option(
    "--limit", "limit_s", type=float, default=600.0, show_default=True, help="Seconds after which a side is stopped"
)
_json_option = click.option("--json", "is_json", is_flag=True, help="Print one JSON object")


@bench.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True)
@click.option("--size", callback=_read_size, metavar="HEIGHTxWIDTH", default="360x480", show_default=True)
@click.option("--classes", type=click.IntRange(min=2), default=11, show_default=True)
@_json_option
@suite_arguments
def card(
    suite_name: str, settings: Sequence[str], device: str, size: tuple[int, int], classes: int, is_json: bool
) -> None:
    """Measure a card's bandwidth and rates, and the floors that they set for SUITE's recipe."""
    recipe = open_suite(suite_name, settings).suite.learner
    resolve_device(device)
    rates = measure_rates(device)
    precisions = {"fit": recipe.precision, "score": recipe.precision_of_inference}
    works = work_of_recipe(recipe, classes, size)
    found = {name: floors(work, rates, precisions[name]) for name, work in works.items()}
    if is_json:
        click.echo(json.dumps({"rates": rates, "floors": found}, indent=1))
        return
    for name, rate in rates.items():
        click.echo(f"{name}: {rate:.3g}")
    for name, floor in found.items():
        click.echo(f"{name}: " + ", ".join(f"{what} {value:,}" for what, value in floor.items()))


@bench.command()
@_threads_option
@click.option(
    "--problems", metavar="N,N,...", default="1,2,3", show_default=True,
    callback=lambda context, option, text: _read_counts(text),
    help="1: 400 of 47,488 regions; 2: 4,000 of them; 3: 1,600 of 380,800; 128 features each",
)  # fmt: skip
@_limit_option
@_json_option
def rivals(threads: tuple[int, ...], problems: tuple[int, ...], limit_s: float, is_json: bool) -> None:
    """Time core-set against other packages' farthest point sampling, from the same region; equal picks are counted.

    The packages are no dependency of quadrat: uv pip install fpsample torch-quickfps skmatter
    """
    result = bench_rivals(
        [PROBLEMS[number - 1] for number in problems],
        threads=threads,
        limit_s=limit_s,
        on_row=functools.partial(_print_pair, to_stderr=is_json),
    )
    if is_json:
        click.echo(json.dumps(result, indent=1))
    if result["missing"]:
        click.echo(
            f"not installed: {', '.join(result['missing'])}; uv pip install {' '.join(result['missing'])}", err=True
        )


@bench.command()
@_pool_options
@_threads_option
@_limit_option
@_json_option
def strategies(
    names: tuple[str, ...],
    regions: int,
    features: int,
    labelled: int,
    budget: int,
    threads: tuple[int, ...],
    limit_s: float,
    is_json: bool,
) -> None:
    """Time one selection by every shipped strategy, or by those named, each in a process of its own."""
    problem = Problem(num_regions=regions, num_features=features, num_labelled=labelled, budget=budget, is_full=True)
    result = bench_strategies(
        problem, names, threads=threads, limit_s=limit_s, on_row=functools.partial(_print_pair, to_stderr=is_json)
    )
    if is_json:
        click.echo(json.dumps(result, indent=1))


@bench.command()
@_pool_options
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Calls after a warm-up")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True,
              help="cpu: try the script on a small pool, with TRITON_INTERPRET=1")  # fmt: skip
@click.option("--check/--no-check", "checks", default=True, show_default=True, help="Compare with the CPU's engine")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here")
def device_selection(
    names: tuple[str, ...],
    regions: int,
    features: int,
    labelled: int,
    budget: int,
    repeats: int,
    device: str,
    checks: bool,
    path: Path | None,
) -> None:
    """Time greedy selection with features on a CUDA device, beside a plain loop in torch and torch-quickfps.

    Also its phases, its batches, the floors by bytes and operations, and whether the CPU's engine selects the same.
    The file is written anew after every part.
    """

    def on_part(result: dict[str, Any]) -> None:
        if path is not None:
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    result = bench_device_selection(
        num_regions=regions,
        num_features=features,
        num_labelled=labelled,
        budget=budget,
        names=names or STRATEGIES,
        repeats=repeats,
        device=device,
        checks=checks,
        on_part=on_part,
    )
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    bench(prog_name="python -m performance")
