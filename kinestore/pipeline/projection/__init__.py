"""A map of features, for paper and for a browser."""

from kinestore.pipeline.projection.draw_umap import umap
from kinestore.pipeline.projection.result import Drawn, DrawnPanel

__all__ = ["Drawn", "DrawnPanel", "umap"]
