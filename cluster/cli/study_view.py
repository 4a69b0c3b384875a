"""What `quadrat show` says about a study before anything runs: candidates, space, and how many models it trains."""

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from quadrat.benchmark.config.study import REGION_SIZE, values_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.candidates import study_of
from quadrat.cluster.progress.progress import num_fits

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["StudySize", "render_study", "study_size"]


class StudySize(NamedTuple):
    """How many models a study trains at most: when no candidate is pruned and no two of them coincide.

    Attributes:
        search: With sharing: round 0 is trained once for each region size and search seed.
        search_alone: Without sharing.
        report: For the report, its references included, with sharing.
        report_alone: For the report, without sharing.
    """

    search: int
    search_alone: int
    report: int
    report_alone: int


def study_size(suite: Suite) -> StudySize:
    """Return how many models the suite's study trains at most, in the search and for the report."""
    study = study_of(suite)
    space = study.distributions()
    sizes = values_of(space[REGION_SIZE]) if REGION_SIZE in space else (suite.region_sizes[0],)
    num_rounds, num_seeds = len(suite.budgets), len(study.search_seeds)
    references = num_seeds if study.needs_full_supervision else 0
    # Round 0 at the suite's own sizes is there for its strategies; other sizes need one of their own.
    other_sizes = min(study.best, len(set(sizes) - set(suite.region_sizes)))
    with_sharing, without = num_fits(suite.trials())
    return StudySize(
        search=num_seeds * (min(len(sizes), study.candidates) + study.candidates * (num_rounds - 1)) + references,
        search_alone=num_seeds * study.candidates * num_rounds + references * study.candidates,
        report=with_sharing + len(suite.seeds) * (study.best * (num_rounds - 1) + other_sizes),
        report_alone=without + len(suite.seeds) * study.best * num_rounds,
    )


def render_study(suite: Suite) -> Table:
    """Return the study as `quadrat show` prints it."""
    study, size = study_of(suite), study_size(suite)
    pruner = type(study.make_pruner()).__name__
    facts = {
        "study": f"{study.candidates} candidates of {study.strategy}, judged by "
        f"{' and '.join(study.objective)} on search seeds {', '.join(map(str, study.search_seeds))}"
        f" and split {study.test or suite.dataset.test}",
        "space": "\n".join(f"{name}  {show_distribution(found)}" for name, found in study.distributions().items()),
        "fixed": ", ".join(f"{name}={value}" for name, value in study.params.items()) or "nothing",
        "proposed by": f"{study.sampler.name}; "
        + ("nobody is pruned" if pruner == "NopPruner" else f"{pruner} acts after each round"),
        "report": f"the best {study.best if study.best > 1 else 'one'} beside the strategies above, on seeds "
        f"{', '.join(map(str, suite.seeds))}",
        "fits": f"at most {size.search} in the search ({size.search_alone} without sharing) and {size.report} for the "
        f"report ({size.report_alone}); fewer when candidates are pruned or pick the same regions",
    }
    table = Table.grid(padding=(0, 2))
    for name, text in facts.items():
        table.add_row(Text(name, style="dim"), Text(text))
    return table


def show_distribution(distribution: "BaseDistribution") -> str:
    """Return a dimension as people write it."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(str, distribution.choices))
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    log = ", logarithmic" if distribution.log else ""  # type: ignore[attr-defined]
    step = distribution.step  # type: ignore[attr-defined]
    return f"{low:g} to {high:g}{log}" + (f" in steps of {step:g}" if step not in (None, 1) else "")
