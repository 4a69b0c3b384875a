"""From records to a page that a researcher would show: statistics, figures, tables and the picks drawn over images."""

from quadrat.benchmark.reporting.page import write_report
from quadrat.benchmark.reporting.readme import update_readme

__all__ = ["update_readme", "write_report"]
