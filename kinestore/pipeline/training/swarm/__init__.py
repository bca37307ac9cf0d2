"""Collaborative training of a swarm of particles: dynamics, the job, and the learning-rate scan."""
