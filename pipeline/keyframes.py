"""Keyframes: the frames nearest to the centres of k-means clusters.

Source: Federated Multimodal Fusion for Action Recognition Leveraging Vision-Language Embeddings
and Spatio-Temporal CNNs (FLAMeST), section 3; its Algorithm A-1 is not public, so ties, empty
clusters and short clips are decided here: ties go to the earlier frame, and a clip with fewer
distinct frames than clusters repeats frames evenly.

Shape legend: T frames, D features.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from pipeline.decode import DecodedVideo
from store import UsageError

THUMBNAIL = (32, 24)
"""Width and height of the luma thumbnails that frames are clustered by."""


def luma_features(video: DecodedVideo) -> NDArray[np.float32]:
    """Every frame's luma thumbnail, scaled to unit length: float32, shape (T, 768)."""
    thumbnails = video.luma(range(video.num_frames), size=THUMBNAIL)
    rows = thumbnails.reshape(video.num_frames, -1).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def select_keyframes(
    features: NDArray[np.float32], *, num_keyframes: int, seed: int
) -> NDArray[np.int64]:
    """Pick the frame nearest to each k-means centre, in time order.

    Args:
        features: One row per decoded frame, float32, shape (T, D).
        num_keyframes: Centres to fit, 1 or more; with fewer distinct frames than that, frames
            repeat.
        seed: Of the k-means++ starts.

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
