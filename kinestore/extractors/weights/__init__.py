"""Weights of extractors: where they come from, what is on this machine, and how they are loaded."""
