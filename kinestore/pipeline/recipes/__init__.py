"""Whole runs: the demo, and tables of papers."""
