"""Settings of an extraction job."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinestore.extractors import FrameChoice
from kinestore.store import UsageError

Weights = str | Path | Mapping[str, str | Path]
"""A path for the only extractor of a job, or paths by extractor."""


@dataclass(frozen=True, kw_only=True)
class ExtractionConfig:
    """Settings of `extract` that most jobs leave as they are.

    Attributes:
        weights: A file or folder of weights to use instead of the published ones: one path where
            there is one extractor, or paths by extractor, such as {"slow": "slow.pyth"}.
        frame_choice: Which frames of a clip the extractors see; None for each extractor's default.
        prompts: A text file with one prompt a line for `clip-text` to choose from; None makes one
            from each label.
        splits: Official files of training and test clips that mark the videos, as in `mark_splits`.
        device: "auto", "cpu" or "cuda".
        scheduler: Address of a running Dask scheduler whose workers see the same paths, such as
            "tcp://10.0.0.1:8786"; None starts workers on this machine.
        limit: Use only the first `limit` videos; None for all.
        retry_failed: Try videos again whose same bytes failed before.
        clip_timeout_s: Seconds that one clip may take before it is recorded as failed.
    """

    weights: Weights | None = None
    frame_choice: FrameChoice | None = None
    prompts: str | Path | None = None
    splits: tuple[str, ...] = ()
    device: str = "auto"
    scheduler: str | None = None
    limit: int | None = None
    retry_failed: bool = False
    clip_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit={self.limit}: must be 1 or more")
        if not 0 < self.clip_timeout_s < math.inf:
            raise UsageError(f"clip_timeout_s={self.clip_timeout_s}: must be above 0")
