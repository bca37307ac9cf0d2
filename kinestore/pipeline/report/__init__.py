"""The HTML report of a run."""

from kinestore.pipeline.report.write_report import report

__all__ = ["report"]
