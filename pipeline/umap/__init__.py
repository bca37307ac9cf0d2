"""A map of features, for paper and for a browser."""

from pipeline.umap.draw import umap
from pipeline.umap.drawn import Drawn, DrawnPanel

__all__ = ["Drawn", "DrawnPanel", "umap"]
