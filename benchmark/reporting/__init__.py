"""The report of a results folder: an HTML page with summary, figures and tables, and the same as files beside it."""

from quadrat.benchmark.reporting.page import write_report
from quadrat.benchmark.reporting.readme import update_readme

__all__ = ["update_readme", "write_report"]
