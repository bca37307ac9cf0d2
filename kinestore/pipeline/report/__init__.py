"""HTML pages of runs: the report of one, and the comparison of two."""

from kinestore.pipeline.report.write_comparison import Comparison, compare
from kinestore.pipeline.report.write_report import ReportResult, report

__all__ = ["Comparison", "ReportResult", "compare", "report"]
