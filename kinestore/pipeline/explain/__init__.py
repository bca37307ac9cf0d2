"""Where in a clip a trained net sees what it names."""

from kinestore.pipeline.explain.explain_video import explain
from kinestore.pipeline.explain.grad_cam import grad_cam

__all__ = ["explain", "grad_cam"]
