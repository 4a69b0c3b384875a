"""What `quadrat show` says about a suite before anything runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.planning.work import DataExtent, data_extent
from quadrat.benchmark.results.folder import finished_trials, read_suite_json
from quadrat.cluster.cli.work_view import render_forecast, warnings
from quadrat.cluster.progress.display import percent
from quadrat.cluster.progress.progress import num_fits
from quadrat.strategies import sees_labels

__all__ = ["PoolSize", "pool_size", "render"]


class PoolSize(NamedTuple):
    """How large a pool is.

    Attributes:
        num_px: Its pixels, None when the data is not at hand.
        is_exact: Whether all images were measured.
        source: How that is known, or why it is not.
    """

    num_px: int | None
    is_exact: bool
    source: str


def pool_size(suite: Suite, results_dir: Path) -> PoolSize:
    """Return the size of the suite's pool, exact once it is packed, else estimated from its first image."""
    if (results_dir / "suite.json").is_file():
        document = read_suite_json(results_dir)
        if document["suite"]["dataset"] == json.loads(suite.dataset.model_dump_json()):
            pool = document["dataset"]["pool"]
            return PoolSize(int(pool["num_px"]), True, f"{pool['num_images']} images")
    from quadrat.benchmark.data import load_dataset

    try:
        items = load_dataset(suite.dataset.name, suite.dataset.root, **suite.dataset.params).items(suite.dataset.pool)
        height, width, _ = items[0].read_image().shape
    except DataError as error:
        return PoolSize(None, False, str(error))
    source = f"{len(items)} images, about {width} x {height} (the first one's size)"
    return PoolSize(len(items) * height * width, False, source)


def render(suite: Suite, results_dir: Path) -> Iterator[RenderableType]:
    """Yield the parts of what is shown."""
    trials = suite.trials()
    size = pool_size(suite, results_dir)
    complete = finished_trials(results_dir, trials)
    yield Text.assemble((suite.name, "bold"), f"  {suite.description}")
    yield _facts(suite, results_dir, size)
    yield Text()
    yield _budgets(trials, size)
    yield Text()
    extent = _extent(suite, results_dir)
    if extent is not None:
        yield from render_forecast(suite, extent)
    for warning in warnings(suite, extent):
        yield Text(f"! {warning}", style="yellow")
    yield Text()
    yield _trials(trials, complete)
    with_sharing, without_sharing = num_fits(trials)
    yield Text(
        f"\n{len(trials)} trials, {len(complete)} complete; {with_sharing} fits ({without_sharing} without sharing)"
    )
    if suite.study is not None:
        from quadrat.cluster.cli.study_view import render_study  # here: Optuna takes a while to import

        yield Text()
        yield render_study(suite)


def _extent(suite: Suite, results_dir: Path) -> DataExtent | None:
    """Return the size of the suite's data, None where nothing is known of it (which is said where the pool stands)."""
    try:
        return data_extent(suite, results_dir)
    except DataError:
        return None


def _facts(suite: Suite, results_dir: Path, size: PoolSize) -> Table:
    recipe, need = suite.learner, suite.resources
    length = f"{recipe.iterations} iterations" if recipe.iterations is not None else f"{recipe.epochs} epochs"
    facts = {
        "data set": f"{suite.dataset.name} {suite.dataset.pool} / {suite.dataset.test}",
        "pool": size.source,
        "region": ", ".join(map(str, suite.region_sizes)) + " px",
        "learner": f"DeepLabv3+ on {'frozen ' if recipe.frozen else ''}{recipe.encoder} ({recipe.weights} weights), "
        f"{length}, batch {recipe.batch_size}, crop {recipe.crop}{_kernels(recipe)}",
        "a trial": f"{need.cpus} CPUs, {need.gpus:g} GPUs",
        "results": str(results_dir),
    }
    table = Table.grid(padding=(0, 2))
    for name, text in facts.items():
        table.add_row(Text(name, style="dim"), Text(text))
    return table


def _kernels(recipe: Recipe) -> str:
    """Return what the recipe says of how it is computed, beyond the default."""
    said = [
        recipe.precision if recipe.precision != "fp32" else "",
        f"scored and evaluated in {recipe.inference_precision}" if recipe.inference_precision else "",
        f"torch.compile ({recipe.compile})" if recipe.compile else "",
        "BatchNorm folded" if recipe.fold_batchnorm else "",
    ]
    return "".join(f", {text}" for text in said if text)


def _budgets(trials: list[TrialSpec], size: PoolSize) -> Table:
    """Return cumulative budgets by region size and round, in regions and as a share of the pool's pixels."""
    by_size = {spec.region_size: spec.budgets for spec in trials if spec.budgets}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("budget after round")
    for round_ in range(max(map(len, by_size.values()))):
        table.add_column(str(round_), justify="right")
    for region_size, budgets in by_size.items():
        table.add_row(f"regions of {region_size} px", *(f"{budget:,}" for budget in budgets))
        if size.num_px is not None:
            # A border cell is smaller than a whole one, so this is the most that a budget can be.
            shares = [min(1.0, budget * region_size**2 / size.num_px) for budget in budgets]
            table.add_row(
                f"% of the pixels, {'at most' if size.is_exact else 'about'}", *map(percent, shares), style="dim"
            )
    return table


def _trials(trials: list[TrialSpec], complete: set[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("trial", "label", "seed", "rounds", "parameters"):
        table.add_column(name, no_wrap=name != "parameters", justify="right" if name in ("seed", "rounds") else "left")
    for spec in trials:
        params = ", ".join(f"{key}={value}" for key, value in spec.params.items())
        params = f"SEES LABELS  {params}".rstrip() if sees_labels(spec.strategy) else params
        done = " (complete)" if spec.trial_id in complete else ""
        table.add_row(spec.trial_id, spec.label, str(spec.seed), f"{spec.num_rounds}{done}", params)
    return table
