"""The one progress callback: long jobs call it as they advance."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Shows how far a stage of a job is, such as a bar on a terminal."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are finished, with a short note such as the loss."""


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""


@dataclass
class _Stage:
    name: str
    started: float
    first: int
    done: int
    total: int
    note: str


class LinesOfProgress:
    """Writes a line on the newest stage at each interval, where no bar can be drawn.

    Use it in a `with` block: a thread writes, so that a stage that does not advance is seen too.

    Args:
        write: Takes each line.
        interval_s: Seconds between two lines.
    """

    def __init__(self, write: Callable[[str], None], *, interval_s: float = 60) -> None:
        self._write, self._interval_s = write, interval_s
        self._stage: _Stage | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "LinesOfProgress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Note how far the job is, as `Progress` takes it."""
        known = self._stage
        is_new = known is None or known.name != stage or done < known.first
        started, first = time.monotonic(), done
        if known is not None and not is_new:
            started, first = known.started, known.first
        self._stage = _Stage(stage, started, first, done, total, note)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            if self._stage is not None:
                self._write(_line(self._stage, time.monotonic()))


def _line(stage: _Stage, now: float) -> str:
    """Return "rounds: 12 of 80, 0.4/s, 170 s left, accuracy 0.500"."""
    parts = [f"{stage.name}: {stage.done:,} of {stage.total:,}"]
    spent, steps = now - stage.started, stage.done - stage.first
    if steps > 0 and spent > 0:
        left = (stage.total - stage.done) * spent / steps
        per_minute = steps / spent < 1
        rate = f"{60 * steps / spent:.1f}/min" if per_minute else f"{steps / spent:.1f}/s"
        parts += [rate, f"{left / 60:.0f} min left" if left >= 120 else f"{left:.0f} s left"]
    return ", ".join([*parts, stage.note] if stage.note else parts)
