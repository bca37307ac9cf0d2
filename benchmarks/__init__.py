"""Benchmarks of speed, memory and accuracy against other libraries; run each as a module."""
