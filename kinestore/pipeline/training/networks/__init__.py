"""Networks on frames: their clips, how they are augmented, and how a network is built."""
