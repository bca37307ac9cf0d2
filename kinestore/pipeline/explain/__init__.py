"""Explanations of a trained network's predictions by Grad-CAM."""

from kinestore.pipeline.explain.explain_video import Explanation, explain
from kinestore.pipeline.explain.grad_cam import grad_cam

__all__ = ["Explanation", "explain", "grad_cam"]
