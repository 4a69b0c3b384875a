"""Charts of the report are drawn without Altair's checks, which change nothing and take longer than the rest."""

from pathlib import Path
from typing import Any

import pytest
from altair.utils import schemapi
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.measures import FRACTION, MIOU
from quadrat.benchmark.reporting import page, write_report
from quadrat.benchmark.reporting.figures.charts import learning_curves
from quadrat.benchmark.reporting.figures.style import unchecked
from quadrat.benchmark.results.palette import looks_of
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy"), "budgets": (12, 24)}


def test_a_report_is_written_unchecked_and_its_charts_are_those_that_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fake_results(tmp_path, **FEW)
    results = read_results(tmp_path)
    looks = looks_of(results.strategies, results.queries)
    checks: list[bool] = []
    validate = schemapi.SchemaBase.validate.__func__  # type: ignore[attr-defined]  # of a class method

    def counted(own: type, *arguments: Any, **options: Any) -> None:
        checks.append(schemapi.DEBUG_MODE)
        validate(own, *arguments, **options)

    monkeypatch.setattr(schemapi.SchemaBase, "validate", classmethod(counted))

    def curves(*_: object, **__: object) -> dict[str, Any]:
        return learning_curves(results, looks, cost=FRACTION, metric=MIOU)

    checked = curves()
    num_checked = len(checks)
    with unchecked():
        assert curves() == checked
    assert len(checks) - num_checked < num_checked
    drawn: list[bool] = []
    monkeypatch.setattr(page, "learning_curves", lambda *_, **__: drawn.append(schemapi.DEBUG_MODE) or checked)
    assert write_report(tmp_path).is_file()
    assert drawn and not any(drawn)
    assert schemapi.DEBUG_MODE
