"""The one progress callback: long jobs call it as they advance."""

from typing import Protocol


class Progress(Protocol):
    """Shows how far a stage of a job is, such as a bar on a terminal."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are finished, with a short note such as the loss."""


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""
