"""Speed, memory and accuracy beside honest opponents, each a module to run by its name."""
