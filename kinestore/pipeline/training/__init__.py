"""Training a head on stored features, and scoring it on unseen clips."""
