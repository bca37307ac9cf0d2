"""One page that tells of a run."""

from pipeline.report.write import report

__all__ = ["report"]
