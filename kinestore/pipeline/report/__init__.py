"""The HTML report of a run."""

from kinestore.pipeline.report.write_report import ReportResult, report

__all__ = ["ReportResult", "report"]
