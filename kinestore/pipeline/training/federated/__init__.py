"""Training over clients that keep their clips to themselves, simulated."""
