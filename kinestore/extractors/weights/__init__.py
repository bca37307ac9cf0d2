"""Weights of extractors: their sources, the files on this machine, and loading."""
