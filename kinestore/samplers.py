"""Frame samplers, and positions of crops.

Every function is pure: it takes counts and returns frame indices, without decoding. Indices lie in
[0, num_frames) and never decrease within a clip: past the end the last frame repeats, as in the
released code of TDN (I3D and mmaction2 start again at the first frame instead, which shows the
network a jump that is not in the video). A count below 1 or a negative seed is a UsageError.

Shape legend: T frames of the video, S segments, N clips, L frames of a clip.
"""

import numpy as np
from numpy.typing import NDArray

from kinestore.store import UsageError

FrameIndices = NDArray[np.int64]


def evenly_spaced(num_frames: int, count: int) -> FrameIndices:
    """Return `count` frame indices from the first to the last; a short clip repeats frames.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    return np.linspace(0, num_frames - 1, count).round().astype(np.int64)


def random_segments(
    num_frames: int, *, num_segments: int, seed: int, length: int = 1
) -> FrameIndices:
    """Start at a random position in each of S equal segments: sparse sampling, as in training.

    Source: Temporal Segment Networks: Towards Good Practices for Deep Action Recognition (TSN,
    2016), section 3.1. With length=5 it is the sampling of TDN: Temporal Difference Networks for
    Efficient Action Recognition (2021), on which Video Action Recognition Method Based on
    Personalized Federated Learning and Spatiotemporal Features builds: column 2 is I_t of its
    Eqs. (1) and (2), and the others its two neighbors on each side.

    With fewer positions to start at than segments, the starts are sorted draws from all positions;
    the released codes of TSM and TDN do not sample at T <= S, and take the first frames S times.

    Args:
        num_frames: T, 1 or more.
        num_segments: S, 1 or more.
        seed: 0 or more; derive another for each video and epoch.
        length: L consecutive frames from each start, 1 or more.

    Returns:
        int64, shape (S, L); the starts never decrease.
    """
    _check_counts(num_frames=num_frames, num_segments=num_segments, length=length)
    rng = _generator("random-segments", seed)
    num_starts = _num_starts(num_frames, length=length)
    segment = num_starts // num_segments  # the last num_starts % num_segments are never drawn
    if segment:
        starts = segment * np.arange(num_segments) + rng.integers(segment, size=num_segments)
    else:
        starts = np.sort(rng.integers(num_starts, size=num_segments))
    return _clips(starts, num_frames, length=length)


def center_segments(num_frames: int, *, num_segments: int, length: int = 1) -> FrameIndices:
    """Start at the center of each of S equal segments: sparse sampling, as in testing.

    Source, arguments, result and errors as for `random_segments`. The start int(tick/2 + tick*i),
    tick = (T-L+1)/S, is computed in integers; the released codes' floats are sometimes one frame
    short, though never for up to 6, 8 or 16 segments. TDN's code takes the first frames S times
    where T < S+L; here the formula holds, with as many distinct starts as there are.
    """
    _check_counts(num_frames=num_frames, num_segments=num_segments, length=length)
    num_starts = _num_starts(num_frames, length=length)
    starts = num_starts * (2 * np.arange(num_segments) + 1) // (2 * num_segments)
    return _clips(starts, num_frames, length=length)


def first_frames(
    num_frames: int, *, max_length: int, count: int | None = None
) -> tuple[FrameIndices, NDArray[np.bool_]]:
    """Take the first frames up to a maximum sequence length (the "shadow method").

    Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet
    Transformer (2023), section 2.2.3, and its thinning (section 3.6): rows i * floor(L / n) of the
    sequence and of its mask, such as 0, 10, ..., 90 for 10 of 100.

    Args:
        num_frames: T, 1 or more.
        max_length: L, 1 or more.
        count: n rows of the L to take, from 1 to L; None takes all.

    Returns:
        Indices, int64, and mask, bool, both of shape (n,). The mask is True for frames and False
        for padding (torch's `key_padding_mask` is its opposite). Padding repeats the last frame,
        so that it can be decoded; set its features to zero.
    """
    count = max_length if count is None else count
    _check_counts(num_frames=num_frames, max_length=max_length, count=count)
    if count > max_length:
        raise UsageError(f"count={count}: must be {max_length} or less, the maximum length")
    indices = np.arange(count) * (max_length // count)
    return indices.clip(max=num_frames - 1), indices < num_frames


def stepped_frames(num_frames: int, *, count: int, as_released: bool = False) -> FrameIndices:
    """Take `count` frames at a fixed step through the whole video.

    Source: as for `first_frames`; step = max(1, floor(T / (count - 1))), index_i = i * step.

    The released code has index_i = i * (step - 1). That contradicts the paper ("achieve the full
    length of the video"): it leaves the last frames out, and is the first frame `count` times
    where T < 2 * (count - 1). For T=100, count=4 it gives 0, 32, 64, 96; the step 0, 33, 66, 99.

    Args:
        num_frames: T, 1 or more.
        count: Number of frames, 1 or more.
        as_released: Return the frames of the released code, to compare with its results.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    _check_counts(num_frames=num_frames, count=count)
    step = max(1, num_frames // max(count - 1, 1))
    if as_released:
        step -= 1
    return _clips(np.array([0]), num_frames, length=count, stride=step).ravel()


def dense_clip(num_frames: int, *, start: int, length: int, stride: int = 1) -> FrameIndices:
    """Return a clip of `length` frames, every `stride`-th from `start` on: int64, shape (L,).

    Raises:
        UsageError: If `start` is not a frame.
    """
    _check_counts(num_frames=num_frames, length=length, stride=stride)
    if not 0 <= start < num_frames:
        raise UsageError(f"start={start}: must be a frame, from 0 to {num_frames - 1}")
    return _clips(np.array([start]), num_frames, length=length, stride=stride).ravel()


def random_clip(num_frames: int, *, length: int, seed: int, stride: int = 1) -> FrameIndices:
    """Return a dense clip at a random position, as in training: int64, shape (L,).

    Every position where the whole clip fits is equally likely; a shorter video starts at frame 0.
    """
    _check_counts(num_frames=num_frames, length=length, stride=stride)
    rng = _generator("random-clip", seed)
    start = int(rng.integers(_num_starts(num_frames, length=length, stride=stride)))
    return dense_clip(num_frames, start=start, length=length, stride=stride)


def uniform_clips(num_frames: int, *, num_clips: int, length: int, stride: int = 1) -> FrameIndices:
    """Return dense clips at evenly spaced starts, for averaging over several clips at test time.

    Source: SlowFast Networks for Video Recognition (2019), section 4, "Inference". The first clip
    starts with the video and the last one ends with it; a single clip is the center one.

    Returns:
        int64, shape (N, L); the starts never decrease.
    """
    _check_counts(num_frames=num_frames, num_clips=num_clips, length=length, stride=stride)
    num_starts = _num_starts(num_frames, length=length, stride=stride)
    center = np.array([(num_starts - 1) // 2])
    starts = evenly_spaced(num_starts, num_clips) if num_clips > 1 else center
    return _clips(starts, num_frames, length=length, stride=stride)


def consecutive_clips(num_frames: int, *, length: int) -> FrameIndices:
    """Divide the video into clips that do not overlap: int64, shape (max(1, T // L), L).

    Source: Learning Spatiotemporal Features with 3D Convolutional Networks (C3D, 2015), section
    3.1, with length=16. A tail shorter than a clip is dropped, unless it is the whole video.
    """
    _check_counts(num_frames=num_frames, length=length)
    starts = length * np.arange(max(1, num_frames // length))
    return _clips(starts, num_frames, length=length)


def center_crop(height: int, width: int, *, size: int) -> FrameIndices:
    """Return (top, left) of the size x size center crop, rounded as torchvision does: int64, (2,).

    Raises:
        UsageError: If the picture is smaller than the crop, or the size below 1.
    """
    if not 1 <= size <= min(height, width):
        shorter = f"{min(height, width)}, the shorter side of a {height} x {width} picture"
        raise UsageError(f"size={size}: must be from 1 to {shorter}")
    return np.array([round((height - size) / 2), round((width - size) / 2)], np.int64)


def three_crop(height: int, width: int, *, size: int) -> FrameIndices:
    """Return (top, left) of crops at both ends and the center of the longer side: int64, (3, 2).

    Source: as for `uniform_clips`, where the size is the shorter side. A smaller size is centered
    on the shorter side. The order is left, center, right; for a portrait top, center, bottom.

    Raises:
        UsageError: As for `center_crop`.
    """
    crops = np.tile(center_crop(height, width, size=size), (3, 1))
    longer = 0 if height > width else 1
    crops[[0, 2], longer] = 0, max(height, width) - size
    return crops


def _check_counts(**counts: int) -> None:
    """Raise UsageError for a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}={count}: must be 1 or more")


def _num_starts(num_frames: int, *, length: int, stride: int = 1) -> int:
    """Return the number of starts at which a whole clip fits; 1 in a video too short for it."""
    return max(num_frames - (length - 1) * stride, 1)


def _clips(starts: FrameIndices, num_frames: int, *, length: int, stride: int = 1) -> FrameIndices:
    """Return one row of frames for each start; past the end the last frame repeats."""
    frames = starts[:, None] + stride * np.arange(length)
    return frames.clip(max=num_frames - 1)


def _generator(purpose: str, seed: int) -> np.random.Generator:
    from kinestore.heads.support.seeds import derive_seed

    return np.random.default_rng(derive_seed(purpose, seed))
