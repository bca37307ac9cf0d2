"""Keyframes: the frames nearest to the centers of k-means clusters.

Source: Federated Multimodal Fusion for Action Recognition Leveraging Vision-Language Embeddings
and Spatio-Temporal CNNs (FLAMeST), section 3; its Algorithm A-1 is not public, so ties, empty
clusters and short clips are our choice: ties go to the earlier frame, and a clip with fewer
distinct frames than clusters repeats frames evenly.

Shape legend: T frames, D features.
"""

import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kinestore.extractors import SPACES, ClipFrames
from kinestore.store import UsageError

if TYPE_CHECKING:
    from kinestore.extractors.cnn import FrameCnn


class ThumbnailedClip(ClipFrames, Protocol):
    """A decoded clip that also has luma thumbnails."""

    def thumbnails(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return frame indices, int64, shape (N,), and thumbnails, uint8, shape (N, 24, 32)."""


def choose_keyframes(
    video: ThumbnailedClip, *, num_keyframes: int, seed: int, space: str = "luma"
) -> NDArray[np.int64]:
    """Cluster a video's frames and pick the one nearest to each center.

    Of a video of more than 4096 frames, evenly spaced ones are clustered.

    Args:
        video: The video.
        num_keyframes: Number of clusters, 1 or more.
        seed: Seed of the k-means++ starts.
        space: Feature space, one of `extractors.SPACES`.

    Returns:
        Non-decreasing frame indices, int64, shape (num_keyframes,).

    Raises:
        UsageError: If num_keyframes is below 1 or the space is unknown.
    """
    if space not in SPACES:
        raise UsageError(f"space={space!r}: must be {' or '.join(SPACES)}")
    indices, features = luma_features(video)
    if space == "cnn":
        features = _cnn().frame_features(video, indices)
    return indices[select_keyframes(features, num_keyframes=num_keyframes, seed=seed)]


def luma_features(video: ThumbnailedClip) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the frames to choose from, and the luma thumbnail of each, scaled to unit length.

    Returns:
        Indices, int64, shape (N,), and features, float32, shape (N, 768).
    """
    indices, thumbnails = video.thumbnails()
    rows = thumbnails.reshape(len(indices), -1).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return indices, rows


@functools.cache
def _cnn() -> "FrameCnn":
    from kinestore.extractors import ExtractorOptions
    from kinestore.extractors.cnn import LITE0, build  # torch takes seconds to import

    return build(LITE0, ExtractorOptions())


def select_keyframes(
    features: NDArray[np.float32], *, num_keyframes: int, seed: int
) -> NDArray[np.int64]:
    """Pick the frame nearest to each k-means center, in time order.

    Args:
        features: One row per decoded frame, float32, shape (T, D).
        num_keyframes: Number of clusters, 1 or more; with fewer distinct frames, frames repeat.
        seed: Seed of the k-means++ starts.

    Returns:
        Non-decreasing frame indices, int64, shape (num_keyframes,).

    Raises:
        UsageError: If num_keyframes is below 1, or there is no frame, or a feature is not finite.
    """
    if num_keyframes < 1:
        raise UsageError(f"num_keyframes={num_keyframes}: must be 1 or more")
    if features.ndim != 2 or len(features) == 0:
        raise UsageError(f"features of shape {features.shape}: must be (T, D) with T of 1 or more")
    if not np.isfinite(features).all():
        raise UsageError("features: have values that are not finite")
    _, first_seen = np.unique(features, axis=0, return_index=True)
    if len(first_seen) <= num_keyframes:
        return _spread(np.sort(first_seen), num_keyframes)
    fitted = KMeans(n_clusters=num_keyframes, n_init=10, max_iter=100, random_state=seed)
    cluster = fitted.fit_predict(features)
    distance = np.linalg.norm(features - fitted.cluster_centers_[cluster], axis=1)
    members = [np.flatnonzero(cluster == k) for k in range(num_keyframes)]
    nearest = [rows[np.argmin(distance[rows])] for rows in members if len(rows)]
    return _spread(np.sort(nearest), num_keyframes)


def _spread(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Repeat increasing indices evenly until there are `count` of them."""
    places = np.linspace(0, len(indices) - 1, count).round().astype(np.int64)
    return np.asarray(indices, np.int64)[places]
