"""The result of a map: its figures, and the texts around it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from kinestore.pipeline.projection.quality import QUALITY_NEIGHBORS, Quality
from kinestore.pipeline.projection.reducer import describe_layout

_TIED = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class UmapPanel:
    """One panel of a map.

    Attributes:
        views: `<extractor>@<fingerprint>` of each, joined into one vector for a clip; where
            extractors are the colors, there is a vector for each, its views joined by " + ".
        num_features: Length of a vector.
        num_points: Clips, times vectors of each.
        num_placed: Clips that were placed into a layout of the others.
        quality: Quality of the vectors and their layout.
    """

    views: list[str]
    num_features: int
    num_points: int
    num_placed: int
    quality: Quality

    @property
    def note(self) -> str:
        """The quality, in short."""
        figures = {
            "silhouette": self.quality.silhouette,
            f"{QUALITY_NEIGHBORS}-NN": self.quality.knn_accuracy,
            "trust": self.quality.trustworthiness,
        }
        return ", ".join(f"{name} {_rounded(value)}" for name, value in figures.items())


@dataclass(frozen=True, kw_only=True)
class UmapResult:
    """A map that was drawn.

    Attributes:
        path: Path of the file.
        color: Meaning of the colors.
        num_clips: Clips in each panel.
        num_left_out: Clips that are not drawn since a view lacks them.
        num_measured: Points that the quality is measured by.
        snapshot: Snapshot that the store was opened at, or None.
        seed: Seed of the layouts, unless they are fast, and of the sample that is measured.
        fast: Whether the layouts had no seed.
        num_without_thumbnail: Clips of a page that have none; None where none were wanted.
        panels: In the requested order.
    """

    path: Path
    color: str
    num_clips: int
    num_left_out: int
    num_measured: int
    snapshot: str | None
    seed: int
    fast: bool
    num_without_thumbnail: int | None
    panels: list[UmapPanel]

    def to_json(self) -> dict[str, object]:
        """Return all figures as values of JSON."""
        return {**asdict(self), "path": str(self.path)}

    @property
    def title(self) -> str:
        """Number of clips and meaning of the colors."""
        return f"{_clips(self.num_clips)} by {self.color}"

    @property
    def titles(self) -> list[str]:
        """Each panel's extractors, after a letter where there are several panels."""
        return [
            letter + self._apart(" + ", ", ").join(map(_without_fingerprints, panel.views))
            for letter, panel in zip(self._letters, self.panels, strict=True)
        ]

    @property
    def caption(self) -> str:
        """The views and, in a second line, the clips and the settings of the layout."""
        each = self._apart("", " each, each standardized by itself")
        views = "; ".join(
            f"{letter}{self._apart(' + ', ', ').join(panel.views)}, "
            f"{panel.num_features:,} features{each}"
            for letter, panel in zip(self._tied_letters, self.panels, strict=True)
        )
        shown = _clips(self.num_clips)
        if self.snapshot is not None:
            shown += f" of snapshot {self.snapshot}"
        if self.num_left_out:
            lack = "lacks" if self.num_left_out == 1 else "lack"
            shown += f", without {self.num_left_out:,} that {lack} a view"
        seed = None if self.fast else self.seed
        laid_out = min(_laid_out(panel, self.num_clips) for panel in self.panels)
        return f"{views}\n{shown}; {describe_layout(laid_out, seed=seed)}{self._placed}"

    @property
    def key(self) -> str:
        """The meaning of the panels' notes."""
        points = self._apart("clips", "points")
        sampled = self.num_measured < max(panel.num_points for panel in self.panels)
        which = f", on a sample of {self.num_measured:,} {points}" if sampled else ""
        return (
            f"Below each panel{which}: silhouette of the {self._apart('labels', 'extractors')} and "
            f"leave-one-out accuracy of {QUALITY_NEIGHBORS} nearest neighbors "
            f"({QUALITY_NEIGHBORS}-NN), "
            f"both in the standardized columns; trustworthiness of the layout (trust, "
            f"{QUALITY_NEIGHBORS} neighbors)."
        )

    @property
    def _placed(self) -> str:
        """Number of clips that came later than the layout that they are in."""
        growths = [panel.num_placed for panel in self.panels]
        alike = len(set(growths)) == 1
        parts = [
            f"; {'' if alike else letter}{_clips(grown)} placed into a layout of "
            f"{self.num_clips - grown:,}"
            for letter, grown in zip(self._tied_letters, growths, strict=True)
            if grown
        ]
        return "".join(parts[:1] if alike else parts)

    def _apart(self, together: str, apart: str) -> str:
        """Choose by whether a clip has a point for each of a panel's views."""
        return apart if self.color == "extractor" else together

    @property
    def _tied_letters(self) -> list[str]:
        return [letter.replace(" ", _TIED) for letter in self._letters]

    @property
    def _letters(self) -> list[str]:
        several = len(self.panels) > 1
        return [f"({letter}) " if several else "" for letter in "abcdefghijkl"[: len(self.panels)]]


def _clips(num_clips: int) -> str:
    """Return a number of clips in words."""
    return "1 clip" if num_clips == 1 else f"{num_clips:,} clips"


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")


def _laid_out(panel: UmapPanel, num_clips: int) -> int:
    """Return the number of points that a layout began with."""
    return panel.num_points // num_clips * (num_clips - panel.num_placed)


def _without_fingerprints(views: str) -> str:
    return " + ".join(view.partition("@")[0] for view in views.split(" + "))
