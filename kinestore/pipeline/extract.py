"""The extraction job: the public name of `pipeline.extraction`."""

from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.result import ExtractionResult

__all__ = ["ExtractionConfig", "ExtractionResult", "extract"]
