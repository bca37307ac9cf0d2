"""Maps of features as figures and as interactive pages."""

from kinestore.pipeline.projection.config import UmapConfig
from kinestore.pipeline.projection.draw_umap import umap
from kinestore.pipeline.projection.result import UmapPanel, UmapResult

__all__ = ["UmapConfig", "UmapPanel", "UmapResult", "umap"]
