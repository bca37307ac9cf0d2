"""What a map of features shows, as a record and in the words around the map."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.umap.layout import describe
from pipeline.umap.quality import NUM_NEIGHBORS, Quality

_TIED = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class DrawnPanel:
    """One panel of a map.

    Attributes:
        views: Joined into one vector a clip, `<extractor>@<fingerprint>`.
        num_features: Of that vector.
        quality: What the vectors and their layout are worth.
    """

    views: list[str]
    num_features: int
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
        num_clips: Points in each panel.
        num_left_out: Clips that are not drawn since a view lacks them.
        num_measured: Clips that the panels' qualities are measured by.
        seed: Of the layouts, unless they are fast, and of the choice of what is measured.
        fast: Whether the layouts had no seed.
        panels: In the order in which they were asked for.
    """

    path: Path
    num_clips: int
    num_left_out: int
    num_measured: int
    seed: int
    fast: bool
    panels: list[DrawnPanel]

    @property
    def titles(self) -> list[str]:
        """Each panel's extractors, after a letter where there are several panels."""
        return [
            letter + " + ".join(view.partition("@")[0] for view in panel.views)
            for letter, panel in zip(self._letters, self.panels, strict=True)
        ]

    @property
    def caption(self) -> str:
        """The views and, in a second line, how and which clips were laid out."""
        letters = [letter.replace(" ", _TIED) for letter in self._letters]
        views = "; ".join(
            f"{letter}{' + '.join(panel.views)}, {panel.num_features:,} features"
            for letter, panel in zip(letters, self.panels, strict=True)
        )
        shown = clips(self.num_clips)
        if self.num_left_out:
            lack = "lacks" if self.num_left_out == 1 else "lack"
            shown += f", without {self.num_left_out:,} that {lack} a view"
        return (
            f"{views}\n{shown}; {describe(self.num_clips, seed=None if self.fast else self.seed)}"
        )

    @property
    def key(self) -> str:
        """What the panels' notes say."""
        sampled = self.num_measured < self.num_clips
        which = f", on a sample of {self.num_measured:,} clips" if sampled else ""
        return (
            f"Below each panel{which}: silhouette of the labels and leave-one-out accuracy of "
            f"{NUM_NEIGHBORS} nearest neighbours ({NUM_NEIGHBORS}-NN), both in the standardised "
            f"columns; trustworthiness of the layout (trust, {NUM_NEIGHBORS} neighbours)."
        )

    @property
    def _letters(self) -> list[str]:
        several = len(self.panels) > 1
        return [f"({letter}) " if several else "" for letter in "abcdefghijkl"[: len(self.panels)]]


def clips(num_clips: int) -> str:
    """So many clips, in words."""
    return "1 clip" if num_clips == 1 else f"{num_clips:,} clips"


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")
