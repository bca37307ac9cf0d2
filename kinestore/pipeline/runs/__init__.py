"""The run folder: what a training job leaves behind, and how it is read again."""
