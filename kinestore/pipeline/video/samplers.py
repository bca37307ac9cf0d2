"""Which frames of a video a network gets, and where pictures are cropped.

Every function is pure: counts go in, frame indices come out, nothing is decoded. Indices always
lie in [0, num_frames) and never fall within a clip: past the end the last frame repeats, as in
the released code of TDN (I3D and mmaction2 start again at the first frame instead, which shows
the network a jump that is not in the video). A count below 1 or a negative seed is a UsageError.
Frames spread from the first to the last come from `extractors._frames.evenly_spaced`.

Shape legend: T frames of the video, S segments, N clips, L frames of a clip.
"""

import numpy as np
from numpy.typing import NDArray

from kinestore.extractors import evenly_spaced
from kinestore.store import UsageError

Indices = NDArray[np.int64]


def random_segments(num_frames: int, *, num_segments: int, seed: int, length: int = 1) -> Indices:
    """Start at a random place in each of S equal segments: sparse sampling, as in training.

    Source: Temporal Segment Networks: Towards Good Practices for Deep Action Recognition (TSN,
    2016), section 3.1. With length=5 it is the sampling of TDN: Temporal Difference Networks for
    Efficient Action Recognition (2021), on which Video Action Recognition Method Based on
    Personalized Federated Learning and Spatiotemporal Features builds: column 2 is I_t of its
    Eqs. (1) and (2), and the others its two neighbours on each side.

    With fewer places to start at than segments, the starts are sorted draws from all places; the
    released codes of TSM and TDN give up at T <= S, and take the first frames S times.

    Args:
        num_frames: T, 1 or more.
        num_segments: S, 1 or more.
        seed: 0 or more; derive another for each video and epoch.
        length: L consecutive frames from each start, 1 or more.

    Returns:
        int64, shape (S, L); the starts do not fall.
    """
    _check_counts(num_frames=num_frames, num_segments=num_segments, length=length)
    rng = _draw("random-segments", seed)
    num_starts = _num_starts(num_frames, length=length)
    segment = num_starts // num_segments  # the last num_starts % num_segments are never drawn
    if segment:
        starts = segment * np.arange(num_segments) + rng.integers(segment, size=num_segments)
    else:
        starts = np.sort(rng.integers(num_starts, size=num_segments))
    return _clips(starts, num_frames, length=length)


def centre_segments(num_frames: int, *, num_segments: int, length: int = 1) -> Indices:
    """Start at the centre of each of S equal segments: sparse sampling, as in testing.

    Source, arguments, result and errors as for `random_segments`. The start int(tick/2 + tick*i),
    tick = (T-L+1)/S, is computed in integers; the released codes' floats fall one frame short now
    and then, though never for up to 6, 8 or 16 segments. TDN's code takes the first frames S
    times where T < S+L; here the formula holds, with as many distinct starts as there are.
    """
    _check_counts(num_frames=num_frames, num_segments=num_segments, length=length)
    num_starts = _num_starts(num_frames, length=length)
    starts = num_starts * (2 * np.arange(num_segments) + 1) // (2 * num_segments)
    return _clips(starts, num_frames, length=length)


def first_frames(num_frames: int, *, max_length: int) -> tuple[Indices, NDArray[np.bool_]]:
    """Take the first frames up to a maximum sequence length (the "shadow method").

    Source: Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet
    Transformer (2023), section 2.2.3. Its thinning, step = max_length / n (section 3.6), is a
    slice of both results: `[::step]`.

    Returns:
        Indices, int64, and mask, bool, both of shape (max_length,). The mask is True for frames
        and False for padding (torch's `key_padding_mask` is its opposite). Padding repeats the
        last frame, so that it can be decoded; set its features to zero.
    """
    _check_counts(num_frames=num_frames, max_length=max_length)
    places = np.arange(max_length)
    return places.clip(max=num_frames - 1), places < num_frames


def stepped_frames(num_frames: int, *, count: int, as_released: bool = False) -> Indices:
    """Skip frames by a fixed step that takes `count` frames through the whole video.

    Source: as for `first_frames`; step = max(1, floor(T / (count - 1))), index_i = i * step.

    The released code has index_i = i * (step - 1). That contradicts the paper ("achieve the full
    length of the video"): it leaves the last frames out, and is the first frame `count` times
    where T < 2 * (count - 1). For T=100, count=4 it gives 0, 32, 64, 96; the step 0, 33, 66, 99.

    Args:
        num_frames: T, 1 or more.
        count: Frames to take, 1 or more.
        as_released: Take the frames of the released code, to compare with its numbers.

    Returns:
        Non-decreasing, int64, shape (count,).
    """
    _check_counts(num_frames=num_frames, count=count)
    step = max(1, num_frames // max(count - 1, 1))
    if as_released:
        step -= 1
    return _clips(np.array([0]), num_frames, length=count, stride=step).ravel()


def dense_clip(num_frames: int, *, start: int, length: int, stride: int = 1) -> Indices:
    """A clip of `length` frames, every `stride`-th from `start` on: int64, shape (L,).

    Raises:
        UsageError: If the start is not a frame.
    """
    _check_counts(num_frames=num_frames, length=length, stride=stride)
    if not 0 <= start < num_frames:
        raise UsageError(f"start={start}: must be a frame, from 0 to {num_frames - 1}")
    return _clips(np.array([start]), num_frames, length=length, stride=stride).ravel()


def random_clip(num_frames: int, *, length: int, seed: int, stride: int = 1) -> Indices:
    """A dense clip from anywhere in the video, as in training: int64, shape (L,).

    Every place where the whole clip fits is equally likely; a shorter video starts at frame 0.
    """
    _check_counts(num_frames=num_frames, length=length, stride=stride)
    rng = _draw("random-clip", seed)
    start = int(rng.integers(_num_starts(num_frames, length=length, stride=stride)))
    return dense_clip(num_frames, start=start, length=length, stride=stride)


def uniform_clips(num_frames: int, *, num_clips: int, length: int, stride: int = 1) -> Indices:
    """Dense clips at evenly spaced starts, for testing on several clips and averaging.

    Source: SlowFast Networks for Video Recognition (2019), section 4, "Inference". The first clip
    starts with the video and the last one ends with it; a single clip is the centre one.

    Returns:
        int64, shape (N, L); the starts do not fall.
    """
    _check_counts(num_frames=num_frames, num_clips=num_clips, length=length, stride=stride)
    num_starts = _num_starts(num_frames, length=length, stride=stride)
    centre = np.array([(num_starts - 1) // 2])
    starts = evenly_spaced(num_starts, num_clips) if num_clips > 1 else centre
    return _clips(starts, num_frames, length=length, stride=stride)


def consecutive_clips(num_frames: int, *, length: int) -> Indices:
    """Cut the video into clips that do not overlap: int64, shape (max(1, T // L), L).

    Source: Learning Spatiotemporal Features with 3D Convolutional Networks (C3D, 2015), section
    3.1, with length=16. A tail shorter than a clip is left out, unless it is the whole video.
    """
    _check_counts(num_frames=num_frames, length=length)
    starts = length * np.arange(max(1, num_frames // length))
    return _clips(starts, num_frames, length=length)


def centre_crop(height: int, width: int, *, size: int) -> Indices:
    """(top, left) of the centred size x size crop, rounded as torchvision does: int64, shape (2,).

    Raises:
        UsageError: If the picture is smaller than the crop, or the size below 1.
    """
    if not 1 <= size <= min(height, width):
        shorter = f"{min(height, width)}, the shorter side of a {height} x {width} picture"
        raise UsageError(f"size={size}: must be from 1 to {shorter}")
    return np.array([round((height - size) / 2), round((width - size) / 2)], np.int64)


def three_crop(height: int, width: int, *, size: int) -> Indices:
    """(top, left) of the crops at both ends and the centre of the longer side: int64, shape (3, 2).

    Source: as for `uniform_clips`, where the size is the shorter side. A smaller size is centred
    on the shorter side. The order is left, centre, right; for a portrait top, centre, bottom.

    Raises:
        UsageError: As for `centre_crop`.
    """
    crops = np.tile(centre_crop(height, width, size=size), (3, 1))
    longer = 0 if height > width else 1
    crops[[0, 2], longer] = 0, max(height, width) - size
    return crops


def _check_counts(**counts: int) -> None:
    """Refuse a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}={count}: must be 1 or more")


def _num_starts(num_frames: int, *, length: int, stride: int = 1) -> int:
    """Places where a clip can start so that all of it fits; 1 in a video too short for it."""
    return max(num_frames - (length - 1) * stride, 1)


def _clips(starts: Indices, num_frames: int, *, length: int, stride: int = 1) -> Indices:
    """One row of frames for each start, the last frame repeating past the end."""
    frames = starts[:, None] + stride * np.arange(length)
    return frames.clip(max=num_frames - 1)


def _draw(purpose: str, seed: int) -> np.random.Generator:
    from kinestore.heads import (
        derive_seed,  # brings torch, which takes seconds that most jobs can spare
    )

    return np.random.default_rng(derive_seed(purpose, seed))
