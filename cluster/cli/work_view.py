"""What a suite will compute and leave on the disk, and what is wrong with it, counted without running anything."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import scale_budgets
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.planning.work import DataExtent, count_work

__all__ = ["render_forecast", "size", "warnings"]


def render_forecast(suite: Suite, extent: DataExtent) -> Iterator[RenderableType]:
    """Yield the work and the disk of a suite."""
    work = count_work(suite, extent)
    most = "at most " if work.is_upper_bound else ""
    scorings = ", ".join(
        f"{passes} x {', '.join([*needs.signals, *(['features'] if needs.features else []), *needs.profiles])}"
        for needs, passes in work.scorings.items()
    )
    facts = {
        "work": f"{work.num_fits:,} fits, {most}{work.num_iterations:,} iterations together; "
        f"{work.num_evaluations:,} evaluations of {extent.num_test:,} images; "
        f"{work.num_scorings:,} scorings of {extent.num_pool:,} images ({scorings or 'nothing is scored'})",
        "disk": f"{size(extent.packed_bytes)} of packed images; models and features: --plan",
        "hours": f"quadrat show {suite.name} --plan measures them on this machine",
    }
    table = Table.grid(padding=(0, 2))
    for name, text in facts.items():
        table.add_row(Text(name, style="dim"), Text(text))
    yield table


def warnings(suite: Suite, extent: DataExtent | None) -> Iterator[str]:
    """Yield what would go wrong: an encoder that nobody knows, budgets that the pool does not hold."""
    from quadrat.benchmark.learning.network.model import check_encoder  # here: torch takes seconds to import

    try:
        check_encoder(suite.learner.encoder)
    except TrainingError as error:
        yield str(error)
    if extent is None:
        return
    for region_size in suite.region_sizes:
        budgets = scale_budgets(suite.budgets, suite.region_sizes[0], region_size)
        held = extent.num_regions(region_size)
        if budgets[-1] > held:
            first = next(round_ for round_, budget in enumerate(budgets) if budget > held)
            yield (
                f"budget {budgets[first]:,} of round {first} is more than the pool's {held:,} regions of {region_size} "
                "px: trials will end with that round, all regions labelled"
            )


def size(num_bytes: float) -> str:
    """Return bytes for people.

    Examples:
        >>> size(2_500_000), size(30_000_000_000)
        ('2.5 MB', '30 GB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= scale:
            value = num_bytes / scale
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
