"""The table of a swarm's particles."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from kinestore.pipeline.commands.console import text_table

if TYPE_CHECKING:
    from pathlib import Path

    from kinestore.pipeline.runs.swarm_figures import AccuracySpread, SwarmFigures
    from kinestore.pipeline.training.swarm.lr_scan import RateScan


def swarm_table(figures: "SwarmFigures") -> RenderableType:
    """Return the accuracies of each particle, as Table 6 of the paper has them, and its terms.

    Accuracies are mean, sample standard deviation and maximum over the folds.
    """
    rows = []
    for one in figures.particles:
        shares = [f"{name} {share:.1g}" for name, share in one.shares.items()]
        saved = " *" if one.particle == figures.saved_particle else ""
        rows.append(
            (
                f"{one.particle}{saved}",
                one.learning_rate,
                _shown(one.chosen),
                _shown(one.last),
                _shown(one.best_on_test),
                ", ".join(shares) or "no exchange",
            )
        )
    columns = (
        "particle",
        "learning rate",
        "chosen on validation",
        "last epoch",
        "best on test",
        "terms, relative to the step of SGD",
    )
    return text_table(
        columns,
        rows,
        title=f"{figures.dynamic}: accuracy on test clips",
        caption="* saved. 'best on test' is chosen by the clips that it is measured on, as in the "
        "paper: too high as an estimate.",
    )


def _shown(spread: "AccuracySpread") -> str:
    if spread.std is None:
        return f"{spread.mean:.3f}"
    return f"{spread.mean:.3f} +- {spread.std:.3f}, max {spread.max:.3f}"


def scan_table(scan: "RateScan", out: "Path") -> RenderableType:
    """Return the accuracy at each learning rate, the peak and the range."""
    rows = [(f"{one.learning_rate:.3g}", f"{one.train_accuracy:.3f}") for one in scan.curve]
    if scan.diverged_at is not None:
        rows.append((f"{scan.diverged_at:.3g}", "diverged"))
    return text_table(
        ("learning rate", "accuracy on training clips"),
        rows,
        title=f"learning-rate scan {out}",
        caption=f"peak {scan.peak:.3g}, range {scan.low:g} to {scan.high:g}; "
        f"take them with kinestore swarm --lr-scan {out}",
    )
