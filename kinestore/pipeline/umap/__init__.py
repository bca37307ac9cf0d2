"""A map of features, for paper and for a browser."""

from kinestore.pipeline.umap.draw import umap
from kinestore.pipeline.umap.drawn import Drawn, DrawnPanel

__all__ = ["Drawn", "DrawnPanel", "umap"]
