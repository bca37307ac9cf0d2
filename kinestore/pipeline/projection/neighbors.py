"""The nearest clips of each clip, in the space that was laid out.

Shape legend: N clips, D columns, K neighbors.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from kinestore.pipeline.projection.reducer import quiet

NUM_LISTED = 10
MOST_EXACT = 20_000
"""Clips that are all compared with each other: with more, neighbors are approximate, since the
comparisons take longer than compiling that search, some 30 s."""


def nearest(standardized: NDArray[np.float32], *, seed: int) -> NDArray[np.int32]:
    """Return rows of up to ten nearest others of each row, the nearest first.

    Above `MOST_EXACT` rows by Efficient k-nearest neighbor graph construction for generic
    similarity measures, 2011, as UMAP does.

    Args:
        standardized: Shape (N, D).
        seed: Seed of the approximate search.

    Returns:
        Shape (N, K).
    """
    num_rows = len(standardized)
    listed = min(NUM_LISTED, num_rows - 1)
    if listed == 0 or standardized.shape[1] == 0:
        return np.zeros((num_rows, 0), dtype=np.int32)
    if num_rows <= MOST_EXACT:
        search = NearestNeighbors(n_neighbors=listed, algorithm="brute").fit(standardized)
        return np.asarray(search.kneighbors(return_distance=False), dtype=np.int32)
    with quiet():
        # Here, since compiling it takes seconds.
        from pynndescent import NNDescent  # type: ignore[import-untyped]

        graph, _ = NNDescent(
            standardized, n_neighbors=listed + 1, random_state=seed, n_jobs=1
        ).neighbor_graph
    # Most rows find themselves, and one of several equal rows may not.
    order = np.argsort(graph == np.arange(num_rows)[:, None], axis=1, kind="stable")
    return np.take_along_axis(graph, order, axis=1)[:, :listed].astype(np.int32)
