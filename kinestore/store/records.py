"""Frozen records that the store takes and returns.

Shape legend: N clips, T frames, D features; H, W pixels down and across, C colors.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Source:
    """One video as the user named it, before anything was read.

    Attributes:
        uri: Absolute path of the file.
        label: Class name, or None for a clip without one.
        group: What must stay together when splitting (a person, a sequence), or None.
        split: "train", "test" or a name of the user's own, or None.
        extra: Every other column of the user's manifest, as text.
    """

    uri: str
    label: str | None = None
    group: str | None = None
    split: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """All class names: the one, or those of the column `labels`."""
        return several_labels(self.extra.get("labels")) if self.label is None else (self.label,)


def several_labels(text: str | None) -> tuple[str, ...]:
    """Return the labels of a JSON list of several; other text is the user's own."""
    if not text or not text.startswith("["):
        return ()
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    valid = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    return tuple(labels) if valid and len(labels) > 1 else ()


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties of a video that was decoded.

    Attributes:
        num_frames: Frames that the decoder returned (headers can be wrong).
        fps: Average frame rate in frames per second.
        width: Stored width in pixels, before rotation.
        height: Stored height in pixels, before rotation.
        codec: FFmpeg's name of the codec.
        duration_s: num_frames / fps, in seconds.
        rotation: Degrees, counter-clockwise, that a player rotates the picture by.
        size_bytes: Size of the file.
        warning: Description of damage that was skipped, or None.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    codec: str
    duration_s: float
    rotation: int
    size_bytes: int
    warning: str | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A source with its identity and properties.

    Attributes:
        clip_id: First 32 hex digits of the SHA-256 of the file's bytes.
        source: The video as the user named it.
        info: The decoded video's properties.
    """

    clip_id: str
    source: Source
    info: VideoInfo


MASKED = {"masked": True}
"""Setting of views whose sequences may have steps without a frame."""

_MAX_VALUES = 2**31 - 1
"""Values of one embedding: the limit of Arrow's fixed-size lists."""


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """Everything that an embedding depends on besides the clip itself.

    Attributes:
        extractor: Registered name, such as "motion".
        shape: Shape of one clip's embedding: (D,) for a vector, (T, D) for a sequence.
        dtype: "float32" or "float16", as stored.
        settings: Code version, weights' hash, sampling, preprocessing, seed: JSON values only; with
            `MASKED` among them, each row of a (T, D) view has a mask of its steps.
    """

    extractor: str
    shape: tuple[int, ...]
    settings: Mapping[str, Any]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_name("extractor", self.extractor)
        if self.dtype not in ("float32", "float16"):
            raise UsageError(f"dtype={self.dtype!r}: must be 'float32' or 'float16'")
        if len(self.shape) not in (1, 2) or min(self.shape) < 1:
            raise UsageError(f"shape={self.shape}: must be (D,) or (T, D), each 1 or more")
        _check_size(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the whole specification as JSON values."""
        return {
            "extractor": self.extractor,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "settings": dict(self.settings),
        }

    @property
    def masked(self) -> bool:
        """True if each row says which steps of its sequence have a frame."""
        return len(self.shape) == 2 and self.settings.get("masked") is True

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever anything in the specification does."""
        return fingerprint_of(self.to_json())

    @property
    def name(self) -> str:
        """The view's folder name, `<extractor>@<fingerprint>`."""
        return f"{self.extractor}@{self.fingerprint}"


@dataclass(frozen=True, kw_only=True)
class FramesSpec:
    """Everything that a clip's stored frames depend on besides the clip itself.

    Attributes:
        kind: A name for them, such as "rgb-112".
        shape: Shape of one clip, (T, H, W, C).
        settings: Sampling, size, cropping, color space, seed: JSON values only.
    """

    kind: str
    shape: tuple[int, ...]
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_name("kind", self.kind)
        if len(self.shape) != 4 or min(self.shape) < 1:
            raise UsageError(f"shape={self.shape}: must be (T, H, W, C), each 1 or more")
        _check_size(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the whole specification as JSON values."""
        return {"kind": self.kind, "shape": list(self.shape), "settings": dict(self.settings)}

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever anything in the specification does."""
        return fingerprint_of(self.to_json())

    @property
    def name(self) -> str:
        """The folder's name, `<kind>@<fingerprint>`."""
        return f"{self.kind}@{self.fingerprint}"


def _check_name(attribute: str, name: str) -> None:
    if not re.fullmatch(r"\w[\w.+-]{0,127}", name):
        raise UsageError(
            f"{attribute}={name!r}: must be letters, digits, '_', '.', '+' and '-', 128 at most"
        )


def _check_size(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > _MAX_VALUES:
        raise UsageError(f"shape={shape}: must hold no more than {_MAX_VALUES} values")


def fingerprint_of(described: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change whenever any of these JSON values does."""
    try:
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise UsageError(f"settings: must be JSON values ({error})") from None
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """One extractor's output for one clip.

    Attributes:
        vector: Shape (D,) or (T, D), float32.
        frame_index: Frames of the clip that it was computed from, int64, shape (n,).
        pts_s: Their presentation times in seconds, float64, shape (n,).
        caption: The text that went into it, or None.
        mask: True where a step of the sequence has a frame, bool, shape (T,); None if all have.
    """

    vector: NDArray[np.float32]
    frame_index: NDArray[np.int64]
    pts_s: NDArray[np.float64]
    caption: str | None = None
    mask: NDArray[np.bool_] | None = None


RESOLVED = "made-good"
"""The kind of a row that cancels an earlier failure of the same uri and view."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One input that failed, and why.

    Attributes:
        uri: Absolute path of the file.
        clip_id: Identity of its bytes, or "" if they could not be read.
        view: The view without a row for it, or "" if the video itself could not be used.
        stage: "read", "decode", "extract" or "worker".
        kind: A short stable word for the reason, such as "missing-file"; or RESOLVED.
        message: One sentence for people.
        when: UTC time, ISO 8601.
        attempt: 1 for the first try of this uri, and one more for each retry.
    """

    uri: str
    clip_id: str
    view: str
    stage: str
    kind: str
    message: str
    when: str
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A pinned set of parts.

    Attributes:
        name: Its name.
        parts: SHA-256 of each part's bytes, by the part's path within the store.
    """

    name: str
    parts: Mapping[str, str]

    def parts_of(self, folder: str) -> dict[str, str]:
        """Return the parts of one folder alone."""
        return {name: h for name, h in self.parts.items() if name.rpartition("/")[0] == folder}
