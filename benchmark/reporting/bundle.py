"""A bundle of a results folder, ready to upload: the published files, and a card in Hugging Face's format.

The card is a README.md with YAML front matter, see https://huggingface.co/docs/hub/datasets-cards. A bundle is a
results folder itself: every command that reads one takes it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from quadrat.benchmark.reporting.provenance import facts
from quadrat.benchmark.reporting.summary import report_summary
from quadrat.benchmark.reporting.tables.export import to_markdown
from quadrat.benchmark.reporting.tables.results import budget_table
from quadrat.benchmark.results.markdown import markdown
from quadrat.benchmark.results.publish import CURVES, GAINS, publish
from quadrat.benchmark.results.trials import Results, read_results
from quadrat.benchmark.storage.atomic import atomic_write

__all__ = ["CARD", "card", "write_bundle"]

CARD: Final = "README.md"

_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Upper bound of the number of records -> category of the hub."""

_FILES: Final = {
    "records.jsonl": "one line per trial and round: mIoU, IoU per class, labelled regions, pixels, clicks, seconds",
    "suite.json": "the suite, fingerprints of the data, every trial with its specification",
    "environment.json": "versions, hardware, commit, command",
    "selections.zip": "the regions that each trial selected in each round, in order",
    "failures.jsonl": "trials that failed",
    "study/study.json": "the search of a study: every candidate with its values",
    GAINS: "gains over Random over pixels and clicks",
    CURVES: "learning curves over labelled pixels",
}


def write_bundle(source: Path, target: Path, *, license: str | None = None) -> None:
    """Write the bundle of a results folder, finished or not.

    Args:
        source: The results folder.
        target: Folder of the bundle.
        license: Identifier of a license on the hub, such as "cc-by-4.0"; none is stated without one.

    Raises:
        ResultsError: When `source` is no results folder or is damaged, or both are one folder.
    """
    publish(source, target)
    atomic_write(Path(target) / CARD, card(read_results(Path(target)), license=license).encode())


def card(results: Results, *, license: str | None = None) -> str:
    """Return the card of a published folder: front matter, result, files, how to read it back, provenance.

    Args:
        results: The folder; which of its files are there is looked up.
        license: As in `write_bundle`.
    """
    front = yaml.safe_dump(_front_matter(results, license), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n" + "\n".join(_body(results, license)) + "\n"


def _front_matter(results: Results, license: str | None) -> dict[str, Any]:
    num = len(results.records) + len(results.full_supervision)
    size = next((name for bound, name in _SIZES if num < bound), "n>1M")
    return {
        **({"license": license} if license else {}),
        "pretty_name": f"quadrat: {results.suite['name']} on {results.title}",
        "task_categories": ["image-segmentation"],
        "tags": ["active-learning", "semantic-segmentation", "benchmark", "quadrat"],
        "size_categories": [size],
        "configs": [{"config_name": "records", "data_files": "records.jsonl", "default": True}],
    }


def _body(results: Results, license: str | None) -> Iterator[str]:
    yield f"# {markdown(str(results.suite['name']))} on {markdown(results.title)}"
    yield ""
    yield (
        "Results of region-based active learning for semantic segmentation, made with quadrat: which image regions a "
        "strategy had labelled, and what a model trained on them reaches. Images and masks are not in this folder."
    )
    yield ""
    unfinished = sum(trial.state != "done" for trial in results.trials)
    if unfinished:
        yield from (f"{unfinished} of {len(results.trials)} trials are not finished.", "")
    if results.records:
        summary = report_summary(results)
        yield from (f"**{markdown(summary.headline)}** {markdown(' '.join(summary.answer))}", "")
        yield from (to_markdown(budget_table(results, digits=1)),)
        yield from ("mIoU in %, mean (std) over seeds, by labelled regions and their share of the pool's pixels.", "")
    there = {name: what for name, what in _FILES.items() if (results.path / name).is_file()}
    for name in (GAINS, CURVES):
        if name in there:
            yield from (f"![{there[name]}]({name})", "")
    yield from ("| file | holds |", "|---|---|")
    yield from (f"| `{name}` | {what} |" for name, what in there.items())
    yield from (
        "",
        "## Read it back",
        "",
        "A download of this folder is a results folder of quadrat:",
        "",
        "```console",
        "$ hf download USER/NAME --repo-type dataset --local-dir DIR",
        "$ quadrat stats DIR      # who is better than Random, by how much, how sure",
        "$ quadrat report DIR     # the whole report as one HTML page",
        "$ quadrat verify DIR     # recomputes a sample of its rounds; needs the images",
        "$ quadrat leaderboard DIR OTHER-DIR",
        "```",
        "",
        "## How it was made",
        "",
    )
    yield from (f"- {fact.term}: {markdown(fact.text)}" for fact in facts(results))
    if license is None:
        yield from ("", "No license is stated.")
    yield from (
        "",
        "Method: L. Cai, X. Xu, L. Zhang, C.-S. Foo, *Exploring Spatial Diversity for Region-Based Active Learning*, "
        "IEEE Transactions on Image Processing 30, 2021, doi:10.1109/TIP.2021.3120041.",
    )
