"""The extraction job: the public name of `pipeline.extraction`."""

from kinestore.pipeline.extraction.extract_videos import extract

__all__ = ["extract"]
