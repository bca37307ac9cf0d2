"""An interactive map of clips: one HTML file, opened from disk, without a network."""

from kinestore.pipeline.explorer.html_file import write_explorer
from kinestore.pipeline.explorer.page import Page

__all__ = ["Page", "write_explorer"]
