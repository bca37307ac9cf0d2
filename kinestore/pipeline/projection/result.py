"""What a map of features shows, as a record and in the words around the map."""

from dataclasses import dataclass
from pathlib import Path

from kinestore.pipeline.projection.quality import NUM_NEIGHBORS, Quality
from kinestore.pipeline.projection.reducer import describe

_TIED = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class DrawnPanel:
    """One panel of a map.

    Attributes:
        views: Joined into one vector a clip, `<extractor>@<fingerprint>`; where extractors are
            the colours, there is a vector for each, and those of a vector are joined by " + ".
        num_features: Of a vector.
        num_points: Clips, times vectors of each.
        num_placed: Clips that were placed into a layout of the others.
        quality: What the vectors and their layout are worth.
    """

    views: list[str]
    num_features: int
    num_points: int
    num_placed: int
    quality: Quality

    @property
    def note(self) -> str:
        """The quality, in short."""
        told = {
            "silhouette": self.quality.silhouette,
            f"{NUM_NEIGHBORS}-NN": self.quality.knn_accuracy,
            "trust": self.quality.trustworthiness,
        }
        return ", ".join(f"{name} {_rounded(value)}" for name, value in told.items())


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A map.

    Attributes:
        path: The file.
        color: What the colours stand for.
        num_clips: In each panel.
        num_left_out: Clips that are not drawn since a view lacks them.
        num_measured: Points that the panels' qualities are measured by.
        snapshot: The snapshot that the store was opened at, or None.
        seed: Of the layouts, unless they are fast, and of the choice of what is measured.
        fast: Whether the layouts had no seed.
        panels: In the order in which they were asked for.
    """

    path: Path
    color: str
    num_clips: int
    num_left_out: int
    num_measured: int
    snapshot: str | None
    seed: int
    fast: bool
    panels: list[DrawnPanel]

    @property
    def title(self) -> str:
        """What is shown, and what the colours stand for."""
        return f"{clips(self.num_clips)} by {self.color}"

    @property
    def titles(self) -> list[str]:
        """Each panel's extractors, after a letter where there are several panels."""
        return [
            letter + self._apart(" + ", ", ").join(map(_without_fingerprints, panel.views))
            for letter, panel in zip(self._letters, self.panels, strict=True)
        ]

    @property
    def caption(self) -> str:
        """The views and, in a second line, how and which clips were laid out."""
        each = self._apart("", " each, each standardised by itself")
        views = "; ".join(
            f"{letter}{self._apart(' + ', ', ').join(panel.views)}, "
            f"{panel.num_features:,} features{each}"
            for letter, panel in zip(self._tied_letters, self.panels, strict=True)
        )
        shown = clips(self.num_clips)
        if self.snapshot is not None:
            shown += f" of snapshot {self.snapshot}"
        if self.num_left_out:
            lack = "lacks" if self.num_left_out == 1 else "lack"
            shown += f", without {self.num_left_out:,} that {lack} a view"
        seed = None if self.fast else self.seed
        laid_out = min(_laid_out(panel, self.num_clips) for panel in self.panels)
        return f"{views}\n{shown}; {describe(laid_out, seed=seed)}{self._placed}"

    @property
    def key(self) -> str:
        """What the panels' notes say."""
        points = self._apart("clips", "points")
        sampled = self.num_measured < max(panel.num_points for panel in self.panels)
        which = f", on a sample of {self.num_measured:,} {points}" if sampled else ""
        return (
            f"Below each panel{which}: silhouette of the {self._apart('labels', 'extractors')} and "
            f"leave-one-out accuracy of {NUM_NEIGHBORS} nearest neighbours ({NUM_NEIGHBORS}-NN), "
            f"both in the standardised columns; trustworthiness of the layout (trust, "
            f"{NUM_NEIGHBORS} neighbours)."
        )

    @property
    def _placed(self) -> str:
        """Which clips came later than the layout that they are in."""
        growths = [panel.num_placed for panel in self.panels]
        alike = len(set(growths)) == 1
        told = [
            f"; {'' if alike else letter}{clips(grown)} placed into a layout of "
            f"{self.num_clips - grown:,}"
            for letter, grown in zip(self._tied_letters, growths, strict=True)
            if grown
        ]
        return "".join(told[:1] if alike else told)

    def _apart(self, together: str, apart: str) -> str:
        """One or the other: by whether a clip has a point for each of a panel's views."""
        return apart if self.color == "extractor" else together

    @property
    def _tied_letters(self) -> list[str]:
        return [letter.replace(" ", _TIED) for letter in self._letters]

    @property
    def _letters(self) -> list[str]:
        several = len(self.panels) > 1
        return [f"({letter}) " if several else "" for letter in "abcdefghijkl"[: len(self.panels)]]


def clips(num_clips: int) -> str:
    """So many clips, in words."""
    return "1 clip" if num_clips == 1 else f"{num_clips:,} clips"


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")


def _laid_out(panel: DrawnPanel, num_clips: int) -> int:
    """Points that a layout began with."""
    return panel.num_points // num_clips * (num_clips - panel.num_placed)


def _without_fingerprints(views: str) -> str:
    return " + ".join(view.partition("@")[0] for view in views.split(" + "))
