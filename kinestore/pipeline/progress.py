"""How far a job has come, told to whoever shows it."""

from collections.abc import Callable
from typing import Protocol


class Tell(Protocol):
    """Moves a stage's bar."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """So many steps are done of so many; the note stands behind the bar."""


Progress = Callable[[str, int, int], None]
"""Called with the stage's name, the clips done and the clips in all."""
