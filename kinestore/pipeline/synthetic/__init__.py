"""Clips that are made, and whose classes differ by motion alone."""
