"""Clips of frames as batches for a network."""
