"""What a model costs: parameters, multiply-adds, and time and memory of a clip."""
