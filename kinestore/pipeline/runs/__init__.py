"""The run folder: results of a training job, written and read."""
