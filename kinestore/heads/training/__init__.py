"""The training loop: one for heads and networks on frames, trained centrally or by clients."""
