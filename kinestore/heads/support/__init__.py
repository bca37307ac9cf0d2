"""Parts of heads that other packages share: registry, seeds, devices, checks, standardization."""
