"""The one progress callback: every job that takes time calls it as it goes on."""

from typing import Protocol


class Progress(Protocol):
    """Shows how far a stage of a job is, such as a bar on a terminal."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are finished, with a short note such as the loss."""


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""
