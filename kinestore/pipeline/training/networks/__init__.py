"""Training of nets that take frames: where clips come from, how they are cut, the loop, the job."""
