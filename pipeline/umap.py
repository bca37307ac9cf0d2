"""A map of a feature: every clip a point, near where its embedding's neighbours are.

Shape legend: N clips, D features.
"""

import difflib
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import _scatter as scatter
from store import Features, UsageError

_NUM_NEIGHBORS = 15
_MIN_DIST = 0.1
_FEWEST = 4
"""With fewer points than this, two dimensions hold all distances and UMAP has nothing to do."""

_COLORS = ("label", "group", "split")


def umap(
    features: Features,
    *,
    classes: list[str] | None = None,
    color: str = "label",
    seed: int = 0,
    out: str | Path,
) -> Path:
    """Project a feature to the plane and draw it.

    Args:
        features: What `Store.load` gives, with one vector a clip.
        classes: Draw clips of these classes only; None for all clips.
        color: "label", "group" or "split": what the colours stand for.
        seed: Seed of the projection; the same seed gives the same file.
        out: File to write: .png, .svg, .pdf, or .html for one to look around in.

    Returns:
        The file that was written.

    Raises:
        UsageError: If a class or color is unknown, the ending is none of the above, or `project`
            cannot lay the features out.
    """
    scatter.check_suffix(Path(out))
    _check_color(color)
    chosen = features if classes is None else _of_classes(features, classes)
    points = project(chosen.features, seed=seed)
    title = f"{len(points)} clips by {color}" if len(points) != 1 else f"1 clip by {color}"
    caption = f"{' + '.join(chosen.views)}\n{_describe(len(points), seed=seed)}"
    return plot(points, chosen, color=color, title=title, caption=caption, out=Path(out))


def project(features: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Lay standardised features out in the plane by UMAP.

    UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction, 2018. With fewer
    than four rows the principal axes are taken instead: they keep every distance.

    Args:
        features: Shape (N, D). Columns that do not vary are left out.
        seed: Seed of the layout, 0 or more.

    Returns:
        float32, shape (N, 2).

    Raises:
        UsageError: If there is no row, rows are not vectors, are all equal or hold NaN or infinity,
            or the seed is out of range.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed={seed}: must be 0 or more and below 2^32")
    _check(features)
    standardised = _standardise(features)
    if len(features) < _FEWEST:
        return _principal_axes(standardised)
    if standardised.shape[1] == 0:
        raise UsageError(
            f"features: all {len(features)} rows are equal, so there is nothing to lay out; "
            "choose another view"
        )
    return _umap(standardised, seed=seed)


def plot(
    points: NDArray[np.float32],
    features: Features,
    *,
    color: str = "label",
    title: str,
    caption: str,
    out: Path,
) -> Path:
    """Draw points in the plane, one colour and marker for each label, group or split.

    Args:
        points: Shape (N, 2).
        features: Whose labels, groups, splits and file names the points have, N rows.
        color: "label", "group" or "split".
        title: Above the points.
        caption: Below the points.
        out: File to write: .png, .svg, .pdf or .html; its folder is made if absent.

    Returns:
        The file that was written; the same arguments give the same bytes.

    Raises:
        UsageError: If the color or the ending is none of the above.
    """
    scatter.check_suffix(out)
    _check_color(color)
    columns = {
        "label": [features.classes[i] if i >= 0 else None for i in features.labels],
        "group": features.groups,
        "split": features.splits,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    scatter.draw(
        points,
        scatter.Legend(
            title=color,
            names=[_shown(value, color) for value in columns[color]],
        ),
        hover=[
            {name: _shown(value, name) for name, value in zip(columns, row, strict=True)}
            | {"file": Path(uri).name}
            for uri, *row in zip(features.uris, *columns.values(), strict=True)
        ],
        title=title,
        caption=caption,
        out=out,
    )
    return out


def _shown(value: str | None, column: str) -> str:
    return f"(no {column})" if value is None else value


def _check_color(color: str) -> None:
    if color not in _COLORS:
        raise UsageError(f"color={color!r}: must be one of {', '.join(_COLORS)}")


def _of_classes(features: Features, classes: list[str]) -> Features:
    for name in classes:
        if name not in features.classes:
            close = difflib.get_close_matches(name, features.classes, n=3) or features.classes[:5]
            few = ", ".join(close) if close else "none: no clip has a label"
            raise UsageError(f"classes={name!r}: no such class; the nearest are {few}")
    kept = [features.classes.index(name) for name in classes]
    return features.select(np.flatnonzero(np.isin(features.labels, kept)))


def _check(features: NDArray[np.float32]) -> None:
    if features.ndim != 2:
        raise UsageError(
            f"features: of shape {features.shape}, must be one vector a clip; "
            "pool the view, as in NAME:mean"
        )
    if len(features) == 0:
        raise UsageError("features: no clip to draw; check the views and classes asked for")
    num_broken = int((~np.isfinite(features)).any(axis=1).sum())
    if num_broken:
        raise UsageError(
            f"features: {num_broken} of {len(features)} rows hold NaN or infinity; "
            "extract those clips again, or leave their view out"
        )


def _standardise(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns at mean 0 and deviation 1, without those that vary by no more than rounding."""
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    varies = deviation > 1e-6 * np.abs(mean)
    scaled = (wide[:, varies] - mean[varies]) / deviation[varies]
    return np.asarray(scaled, dtype=np.float32)


def _principal_axes(standardised: NDArray[np.float32]) -> NDArray[np.float32]:
    left, length, _ = np.linalg.svd(standardised.astype(np.float64), full_matrices=False)
    axes = (left * length)[:, :2]
    return np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))).astype(np.float32)


def _umap(standardised: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        # It imports its Keras variant, and falls back to a seeded random start, by itself.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        warnings.filterwarnings("ignore", "Spectral initialisation failed", UserWarning)
        from umap import UMAP  # here, since compiling it takes seconds

        model = UMAP(
            n_neighbors=_num_neighbors(len(standardised)),
            min_dist=_MIN_DIST,
            random_state=seed,
            n_jobs=1,  # what a seed makes of it anyhow, with a warning
        )
        return np.asarray(model.fit_transform(standardised), dtype=np.float32)


def _num_neighbors(num_points: int) -> int:
    return min(_NUM_NEIGHBORS, num_points - 1)


def _describe(num_points: int, *, seed: int) -> str:
    if num_points < _FEWEST:
        return "Principal axes of standardised columns (too few points for UMAP)"
    neighbors = _num_neighbors(num_points)
    return (
        f"UMAP of standardised columns: n_neighbors {neighbors}, min_dist {_MIN_DIST}, seed {seed}"
    )
