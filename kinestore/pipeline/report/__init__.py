"""One page that tells of a run."""

from kinestore.pipeline.report.write import report

__all__ = ["report"]
