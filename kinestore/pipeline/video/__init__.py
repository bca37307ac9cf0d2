"""From a video file to exact frames."""
