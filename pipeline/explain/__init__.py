"""Where in a clip a trained net sees what it names."""

from pipeline.explain.explaining import explain
from pipeline.explain.grad_cam import grad_cam

__all__ = ["explain", "grad_cam"]
