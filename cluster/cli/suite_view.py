"""Text of `quadrat show`: what a suite resolves to, its work and its study, counted without running anything."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.sharing import count_fits
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import PRECISE, RegionsSpec, TrialSpec, cuts
from quadrat.benchmark.errors import DataError, TrainingError
from quadrat.benchmark.learning.network.encoder_names import is_registered
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.planning.extent import DataExtent, data_extent, data_warnings
from quadrat.benchmark.planning.work import count_study_fits, count_work
from quadrat.benchmark.results.folder import finished_trials
from quadrat.cluster.cli.console import make_table
from quadrat.cluster.progress.display import percent, short
from quadrat.strategies import sees_labels
from quadrat.strategies.parameters import show_distribution

__all__ = ["facts_table", "region_counts", "render_suite", "show_bytes"]


def render_suite(suite: Suite, results_dir: Path) -> Iterator[RenderableType]:
    """Yield the parts of the text: facts, budgets, work, warnings, strategies, trials, number of fits, study."""
    trials = suite.trials()
    complete = finished_trials(results_dir, trials)
    try:
        extent, data_text = data_extent(suite, results_dir), ""
    except DataError as error:
        extent, data_text = None, str(error)
    yield Text.assemble((suite.name, "bold"), f"  {suite.description}")
    yield facts_table(_facts(suite, results_dir, extent, data_text))
    yield Text()
    yield _budgets(trials, extent)
    yield Text()
    if extent is not None:
        yield facts_table(_work(suite, extent))
    for warning in (*data_warnings(suite, results_dir), *_warnings(suite, extent)):
        yield Text(f"! {warning}", style="yellow")
    yield Text()
    yield _strategies(trials)
    yield Text()
    yield _trials(trials, complete)
    fits = count_fits(trials)
    yield Text(f"\n{len(trials)} trials, {len(complete)} complete; {fits.shared} fits ({fits.alone} without sharing)")
    if suite.study is not None:
        yield Text()
        yield facts_table(_study(suite))


def facts_table(facts: Mapping[str, str]) -> Table:
    """Return names and texts as two columns."""
    table = Table.grid(padding=(0, 2))
    for name, text in facts.items():
        table.add_row(Text(name, style="dim"), Text(text))
    return table


def show_bytes(num_bytes: float) -> str:
    """Return a number of bytes with its unit.

    Examples:
        >>> show_bytes(2_500_000), show_bytes(30_000_000_000)
        ('2.5 MB', '30 GB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= scale:
            value = num_bytes / scale
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"


def _facts(suite: Suite, results_dir: Path, extent: DataExtent | None, data_text: str) -> dict[str, str]:
    recipe, need = suite.learner, suite.resources
    length = f"{recipe.iterations} iterations" if recipe.iterations is not None else f"{recipe.epochs} epochs"
    if recipe.pseudo_labels:
        length += ", twice with multi-class labels"
    if extent is not None:
        pixels = f"{extent.pool_px:,} pixels, " if extent.exact else "about "
        data_text = f"{extent.num_pool:,} images, {pixels}{extent.width} x {extent.height} ({extent.source})"
    return {
        "data set": f"{suite.dataset.name} {suite.dataset.pool} / {suite.dataset.test}",
        "pool": data_text,
        "region": ", ".join(map(str, suite.region_sizes)) + " px",
        **({} if extent is None else region_counts(suite.trials(), extent)),
        **_labels(suite),
        "learner": f"DeepLabv3+ on {'frozen ' if recipe.frozen else ''}{recipe.encoder} ({recipe.weights} weights), "
        f"{length}, batch {recipe.batch_size}, crop {recipe.crop}{_numerics(recipe)}",
        "a trial": f"{need.cpus} CPUs, {need.gpus:g} GPUs",
        "results": str(short(results_dir)),
    }


def region_counts(trials: Sequence[TrialSpec], extent: DataExtent) -> dict[str, str]:
    """Return the number of regions of every kind as a fact by name; nothing where all regions are square."""
    found = cuts(trials)
    if all(regions.is_grid for _, regions in found):
        return {}
    numbers = [f"{_about(extent, *cut)}{extent.num_regions(*cut):,} of {cut[1].title} {cut[0]} px" for cut in found]
    later = "; counted once the images are cut" if any(_about(extent, *cut) for cut in found) else ""
    return {"regions": ", ".join(numbers) + later}


def _about(extent: DataExtent, region_size: int, regions: RegionsSpec) -> str:
    return "" if extent.is_counted(region_size, regions) else "about "


def _labels(suite: Suite) -> dict[str, str]:
    """Return the label types and the annotator's errors; nothing for precise labels without errors."""
    by_entry = (suite.label_types if entry.labels is None else (entry.labels,) for entry in suite.strategies)
    types = list(dict.fromkeys(itertools.chain.from_iterable(by_entry)))
    rate = suite.annotator.error_rate
    if types == [PRECISE] and not rate:
        return {}
    return {
        "labels": ", ".join(types) + (f"; {100 * rate:g} % of names wrong ({suite.annotator.kind})" if rate else "")
    }


def _numerics(recipe: Recipe) -> str:
    """Return the recipe's precision and compilation where they are not the default."""
    parts = [
        recipe.precision if recipe.precision != "fp32" else "",
        f"scored and evaluated in {recipe.inference_precision}" if recipe.inference_precision else "",
        f"torch.compile ({recipe.compile})" if recipe.compile else "",
        "BatchNorm folded" if recipe.fold_batchnorm else "",
    ]
    return "".join(f", {part}" for part in parts if part)


def _budgets(trials: list[TrialSpec], extent: DataExtent | None) -> Table:
    """Return cumulative budgets by region size and round, in regions and as a share of the pool's pixels."""
    by_cut = {(spec.region_size, spec.regions.title): spec for spec in trials if spec.budgets}
    by_size = {spec.region_size: spec.budgets for spec in by_cut.values()}
    table = make_table()
    table.add_column("budget after round")
    for round_ in range(max(map(len, by_size.values()))):
        table.add_column(str(round_), justify="right")
    for region_size, budgets in by_size.items():
        table.add_row(f"regions of {region_size} px", *(f"{budget:,}" for budget in budgets))
        if extent is not None:
            kinds: dict[tuple[str, ...], list[str]] = {}
            for spec in by_cut.values():
                if spec.region_size == region_size:
                    name, shares = _shares(spec, extent)
                    kinds.setdefault((name, *map(percent, shares)), []).append(spec.regions.title)
            for (name, *texts), titles in kinds.items():
                of = "" if len(kinds) == 1 else f" of {', '.join(titles)}"
                table.add_row(f"% of the pixels, {name}{of}", *texts, style="dim")
    return table


def _shares(spec: TrialSpec, extent: DataExtent) -> tuple[str, list[float]]:
    """Return a trial's budgets as shares of the pool's pixels, and what they are.

    A border cell is smaller than a whole one, so whole ones are the most that a budget of squares can be. Regions of a
    map are taken at their mean size: a map may leave pixels out, which `show` does not look up.
    """
    if spec.regions.is_grid:
        name = "at most" if extent.exact else "about"
        return name, [min(1.0, budget * spec.region_size**2 / extent.pool_px) for budget in spec.budgets]
    num = extent.num_regions(spec.region_size, spec.regions)
    name = "on average" if extent.is_counted(spec.region_size, spec.regions) else "about"
    return name, [min(1.0, budget / num) for budget in spec.budgets]


def _work(suite: Suite, extent: DataExtent) -> dict[str, str]:
    """Return the work of a suite and the disk that its images take."""
    work = count_work(suite, extent)
    most = "at most " if work.is_upper_bound else ""
    scorings = ", ".join(f"{passes} x {needs}" for needs, passes in work.scorings.items())
    return {
        "work": f"{work.num_fits:,} fits, {most}{work.num_iterations:,} iterations together; "
        f"{work.num_evaluations:,} evaluations of {extent.num_test:,} images; "
        f"{work.num_scorings:,} scorings of {extent.num_pool:,} images ({scorings or 'nothing is scored'})",
        "disk": f"{show_bytes(extent.packed_bytes)} of packed images",
    }


def _warnings(suite: Suite, extent: DataExtent | None) -> Iterator[str]:
    """Yield what would go wrong: an unknown encoder, budgets that exceed the pool."""
    if not is_registered(suite.learner.encoder):
        from quadrat.benchmark.learning.network.model import check_encoder  # here: timm takes seconds to import

        try:
            check_encoder(suite.learner.encoder)
        except TrainingError as error:
            yield str(error)
    if extent is None:
        return
    of_cut = {(spec.region_size, spec.regions.title): spec for spec in suite.trials() if spec.budgets}
    for spec in of_cut.values():
        size, regions = spec.region_size, spec.regions
        num_regions = extent.num_regions(size, regions)
        if spec.budgets[-1] > num_regions:
            first = next(round_ for round_, budget in enumerate(spec.budgets) if budget > num_regions)
            about, kind = ("", "") if regions.is_grid else (_about(extent, size, regions), f"{regions.title} ")
            yield (
                f"budget {spec.budgets[first]:,} of round {first} is more than the pool's {about}{num_regions:,} "
                f"{kind}regions of {size} px: trials will end with that round, all regions labelled"
            )


def _strategies(trials: list[TrialSpec]) -> Table:
    """Return each strategy with its parameters, those of its first seed."""
    table = make_table()
    table.add_column("strategy", overflow="fold", max_width=32)
    table.add_column("parameters", overflow="fold")
    first: dict[str, TrialSpec] = {}
    for spec in trials:
        first.setdefault(spec.label, spec)
    for spec in first.values():
        params = ", ".join(f"{key}={value}" for key, value in spec.params.items())
        table.add_row(
            Text(spec.label), Text(f"SEES LABELS  {params}".rstrip() if sees_labels(spec.strategy) else params)
        )
    return table


def _trials(trials: list[TrialSpec], complete: set[str]) -> Table:
    """Return one line a trial."""
    table = make_table()
    for name in ("trial", "label", "seed", "rounds", ""):
        table.add_column(name, no_wrap=True, justify="right" if name in ("seed", "rounds") else "left")
    for spec in trials:
        done = "complete" if spec.trial_id in complete else ""
        table.add_row(Text(spec.trial_id), Text(spec.label), str(spec.seed), str(spec.num_rounds), done)
    return table


def _study(suite: Suite) -> dict[str, str]:
    """Return the candidates of a suite's study, their space, and how many models the study trains."""
    study = suite.study
    assert study is not None
    fits = count_study_fits(suite)
    pruner = type(study.make_pruner()).__name__
    return {
        "study": f"{study.candidates} candidates of {study.strategy}, compared by "
        f"{' and '.join(study.objective)} on search seeds {', '.join(map(str, study.search_seeds))}"
        f" and split {study.test or suite.dataset.test}",
        "space": "\n".join(f"{name}  {show_distribution(found)}" for name, found in study.distributions().items()),
        "fixed": ", ".join(f"{name}={value}" for name, value in study.params.items()) or "nothing",
        "proposed by": f"{study.sampler.name}; "
        + ("no candidate is pruned" if pruner == "NopPruner" else f"{pruner} prunes after each round"),
        "report": f"the best {study.best if study.best > 1 else 'one'} beside the strategies above, on seeds "
        f"{', '.join(map(str, suite.seeds))}",
        "fits": f"at most {fits.search.shared} in the search ({fits.search.alone} without sharing) and "
        f"{fits.report.shared} for the report ({fits.report.alone}); fewer when candidates are pruned or select the "
        "same regions",
    }
