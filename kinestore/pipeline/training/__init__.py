"""Training of heads on stored features and of networks on frames, and their test."""
