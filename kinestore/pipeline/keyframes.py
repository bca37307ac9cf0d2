"""Keyframes: the public names of `pipeline.video.keyframes`."""

from kinestore.pipeline.video.keyframes import choose_keyframes, select_keyframes

__all__ = ["choose_keyframes", "select_keyframes"]
