"""Thumbnails, captions and contact sheets of clips."""
