"""Strategies: each is a module with a function `build`."""
