"""Placement of new clips in an existing layout.

Shape legend: n existing points, m new ones, D columns.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from kinestore.pipeline.projection.reducer import MIN_DIST, num_neighbors, quiet


def place(
    new: NDArray[np.float32],
    *,
    among: NDArray[np.float32],
    points: NDArray[np.float32],
    seed: int,
) -> NDArray[np.float32]:
    """Place rows by UMAP's `transform`; the existing points do not move.

    A model that was kept in memory would do the same but for rounding. It is built again from the
    points instead, with exact neighbors instead of its index, whose compilation alone takes as
    long as the whole layout.

    Args:
        new: Shape (m, D), m of 1 or more.
        among: Rows of the existing points, standardized as the new ones, shape (n, D), n of 4 or
            more.
        points: Their places, shape (n, 2).
        seed: Seed of their layout.

    Returns:
        float32, shape (m, 2).
    """
    near = num_neighbors(len(among))
    search = NearestNeighbors(n_neighbors=near, algorithm="brute").fit(among)
    distances, rows = search.kneighbors(among)
    own = search.kneighbors_graph(mode="distance")
    with quiet() as model_class:
        model = model_class(
            n_neighbors=near,
            min_dist=MIN_DIST,
            random_state=seed,
            n_jobs=1,
            metric="precomputed",
            precomputed_knn=(rows.astype(np.int32), distances.astype(np.float32), None),
            init="random",
            n_epochs=0,  # the neighbors alone: the points are known
        ).fit(own.maximum(own.T))
        model.embedding_, model.n_epochs = points, None
        placed = model.transform(search.kneighbors_graph(new, mode="distance"))
    return np.asarray(placed, dtype=np.float32)
