"""Results in a notebook: records as data frames, learning curves, the summary, a figure."""

import dataclasses
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadrat.benchmark.analysis.measures import ACCURACY, MIOU, Cost, Metric, class_iou
from quadrat.benchmark.analysis.statistics import summarise, values_by_seed
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.formatting import counted
from quadrat.benchmark.results.trials import Results, read_results

if TYPE_CHECKING:
    import pandas as pd

    from quadrat.benchmark.reporting.tables.cells import Table

__all__ = ["Figure", "SuiteResults", "Summary", "load"]

_NOTEBOOK = "application/vnd.vegalite.v{}+json"


def load(results: str | Path) -> "SuiteResults":
    """Return the results of a suite, finished or not.

    Args:
        results: A results folder, its URL (files are fetched), or a suite whose results are where `quadrat run` puts
            them.

    Raises:
        ResultsError: When there are no results.
        SuiteError: When it is neither a folder nor a suite.
    """
    from quadrat.cluster.cli.places import find_results

    return SuiteResults(read_results(find_results(str(results))))


class SuiteResults:
    """A results folder as it was when it was loaded.

    Attributes:
        contents: Suite, data set, trials with their records and failures.
    """

    def __init__(self, contents: Results) -> None:
        self.contents = contents

    @property
    def path(self) -> Path:
        """The results folder."""
        return self.contents.path

    @property
    def strategies(self) -> tuple[str, ...]:
        """The labels of the strategies, in the order of the suite."""
        return self.contents.labels

    def frame(self) -> "pd.DataFrame":
        """Return the records as a data frame: a row for each round of each trial, full supervision's too.

        Columns are the fields of a record (`quadrat.benchmark.results.records.Record`; shares from 0 to 1, pixels,
        clicks), the IoU of each class as `iou CLASS`, seconds by phase as `s PHASE`, and processor time and memory as
        `used NAME`, where records have them.
        """
        import pandas as pd

        classes = self.contents.classes
        rows = []
        for trial in self.contents.trials:
            for record in trial.records:
                values = dataclasses.asdict(record)
                iou, seconds, usage = (values.pop(name) for name in ("iou", "seconds", "usage"))
                values |= {f"iou {name}": value for name, value in zip(classes, iou, strict=True)}
                values |= {f"used {name}": value for name, value in usage.items()}
                rows.append(values | {f"s {phase}": value for phase, value in seconds.items()})
        return pd.DataFrame(rows)

    def curves(self, metric: str = "miou", cost: str = "labelled-fraction") -> "pd.DataFrame":
        """Return the learning curves as a data frame: a row for each strategy and round, over the seeds.

        Columns: label, round, the cost (its mean over the seeds), seeds (their number), mean, std (sample standard
        deviation; NaN for one seed), low and high (the extreme seeds). The metric is in percent.

        Args:
            metric: `miou`, `pixel-accuracy` or `iou CLASS`.
            cost: `regions`, `labelled-fraction` (percent of the pool's pixels), `clicks` or `images-opened`.

        Raises:
            ResultsError: When there is no such metric or cost.
        """
        import pandas as pd

        shown, over = self._metric(metric), _cost(cost)
        values = values_by_seed(self.contents.records, shown)
        spent = values_by_seed(self.contents.records, over)
        rows = []
        for label in self.contents.labels:
            for round_, seeds in sorted(values.get(label, {}).items()):
                found = summarise(seeds.values())
                position = summarise(spent[label][round_].values()).mean
                row = {"label": label, "round": round_, cost: position, "seeds": found.num}
                rows.append(row | {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high})
        return pd.DataFrame(rows, columns=["label", "round", cost, "seeds", "mean", "std", "low", "high"])

    def summary(self, cost: str = "labelled-fraction") -> "Summary":
        """Return who differs significantly from Random, as in the report and in `quadrat stats`.

        Args:
            cost: The unit of the exploratory findings, see `curves`.

        Raises:
            ResultsError: When there is no such cost.
        """
        from quadrat.benchmark.reporting.summary import report_summary

        found = report_summary(self.contents, _cost(cost))
        return Summary(
            headline=found.headline,
            answer=found.answer,
            gains=found.gains,
            findings=found.findings,
            caveats=found.caveats,
        )

    def plot(self, metric: str = "miou", cost: str = "labelled-fraction") -> "Figure":
        """Return the learning curves of the report: means, spread over seeds, full supervision.

        Args:
            metric: See `curves`.
            cost: See `curves`.

        Raises:
            ResultsError: When there is no such metric or cost, or no record of a strategy.
        """
        from quadrat.benchmark.reporting.figures.charts import learning_curves
        from quadrat.benchmark.results.palette import looks_of

        if not self.contents.records:
            raise ResultsError(f"expected records of a strategy in {self.path}, got none yet")
        looks = looks_of(self.contents.strategies, self.contents.queries)
        return Figure(learning_curves(self.contents, looks, cost=_cost(cost), metric=self._metric(metric)))

    def _metric(self, key: str) -> Metric:
        classes = self.contents.classes
        known = {metric.key: metric for metric in (MIOU, ACCURACY)}
        known |= {f"iou {name}": class_iou(classes, index) for index, name in enumerate(classes)}
        if key not in known:
            raise ResultsError(f"expected a metric, one of {', '.join(known)}, got '{key}'")
        return known[key]

    def __repr__(self) -> str:
        contents = self.contents
        done = sum(trial.state == "done" for trial in contents.trials)
        failed = sum(trial.state == "failed" for trial in contents.trials)
        return (
            f"{contents.suite['name']} on {contents.title}: {done} of {len(contents.trials)} trials complete"
            f"{f', {failed} failed' if failed else ''}; {counted(len(contents.labels), 'strategy', 'strategies')}, "
            f"{counted(len(contents.seeds), 'seed')}, {counted(contents.num_rounds, 'round')}"
        )

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(repr(self))}</b></p>{self.summary()._repr_html_()}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary:
    """What the results say, in sentences and one table.

    Attributes:
        headline: One sentence: who differs significantly from Random, over pixels and over clicks, on which data.
        answer: Where the two costs disagree, and what the seeds at hand can tell.
        gains: The table of the primary analysis; None where nothing can be compared.
        findings: Exploratory sentences.
        caveats: Limitations of the results, and how they were tested.
    """

    headline: str
    answer: tuple[str, ...]
    gains: "Table | None"
    findings: tuple[str, ...]
    caveats: tuple[str, ...]

    def __repr__(self) -> str:
        from quadrat.benchmark.reporting.tables.export import to_text

        table = ["", to_text(self.gains).rstrip()] if self.gains is not None else []
        return "\n".join([self.headline, *self.answer, *table])

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{html.escape(text)}</p>" for text in (self.headline, *self.answer))
        return sentences + (_table(self.gains) if self.gains is not None else "")


class Figure:
    """A figure of the report: drawn by a notebook, or saved as a file.

    Attributes:
        spec: Its Vega-Lite specification, for `altair.Chart.from_dict`.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec

    def save(self, path: str | Path) -> None:
        """Write the figure as SVG, PDF, PNG or, as `.json`, its specification; the name's ending says which.

        Raises:
            ResultsError: When the ending is another one.
        """
        import json

        import vl_convert

        path, svg = Path(path), self._repr_svg_
        if path.suffix == ".svg":
            data = svg().encode()
        elif path.suffix == ".pdf":
            data = bytes(vl_convert.svg_to_pdf(svg()))
        elif path.suffix == ".png":
            data = bytes(vl_convert.svg_to_png(svg(), scale=2))
        elif path.suffix == ".json":
            data = json.dumps(self.spec).encode()
        else:
            raise ResultsError(f"expected a name that ends in .svg, .pdf, .png or .json, got '{path}'")
        path.write_bytes(data)

    def __repr__(self) -> str:
        return "<quadrat.Figure: shown by a notebook; save(path) writes it>"

    def _repr_svg_(self) -> str:
        import vl_convert

        from quadrat.benchmark.reporting.vega import VEGA_LITE

        return str(vl_convert.vegalite_to_svg({**self.spec, "background": "white"}, vl_version=VEGA_LITE))

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from quadrat.benchmark.reporting.vega import VEGA_LITE

        # With tooltips where a notebook knows Vega-Lite; the picture where it does not.
        kind = _NOTEBOOK.format(VEGA_LITE.partition(".")[0])
        return {kind: self.spec, "image/svg+xml": self._repr_svg_(), "text/plain": repr(self)}


def _cost(key: str) -> Cost:
    from quadrat.benchmark.reporting.text import cost_of_key

    return cost_of_key(key)


def _table(table: "Table") -> str:
    heads = [table.corner, *table.columns]
    subheads = ["", *(table.subheads or ("",) * len(table.columns))]
    lines = [
        "<tr>"
        + "".join(
            f"<th>{html.escape(head)}{f'<br>{html.escape(second)}' if second else ''}</th>"
            for head, second in zip(heads, subheads, strict=True)
        )
        + "</tr>"
    ]
    for row in table.rows:
        cells = "".join(
            f"<td>{html.escape(cell.text)}{f' [{html.escape(cell.note)}]' if cell.note else ''}</td>"
            for cell in row.cells
        )
        lines.append(f"<tr><th>{html.escape(row.label)}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
