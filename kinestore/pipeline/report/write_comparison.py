"""Compare two runs clip by clip, and write the comparison as one page."""

from dataclasses import asdict, dataclass
from pathlib import Path

from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.report.html import render
from kinestore.pipeline.report.paired import PairedResult, compare_predictions
from kinestore.pipeline.runs.predictions import read_predictions
from kinestore.pipeline.runs.reader import read_config
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import write_text


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        path: The page, or None if none was requested.
        first: The first run folder.
        second: The second.
        paired: What became of each clip.
    """

    path: Path | None
    first: str
    second: str
    paired: PairedResult

    def to_json(self) -> dict[str, object]:
        """Return all figures as JSON values."""
        paired = self.paired
        return {
            "first": self.first,
            "second": self.second,
            "out": None if self.path is None else str(self.path),
            "first_top1": paired.first_top1,
            "second_top1": paired.second_top1,
            "p_value": paired.p_value,
            **asdict(paired),
        }


def compare(first: str | Path, second: str | Path, *, out: str | Path | None = None) -> Comparison:
    """Compare the predictions of two finished runs for the test clips that both have.

    Args:
        first: A run folder, such as the baseline.
        second: Another, on the same clips.
        out: An .html file to write, which needs no network; None writes nothing.

    Raises:
        UsageError: If a run cannot be used, they share no test clip, or the file ends otherwise.
    """
    path = None if out is None else local_path(out)
    if path is not None and path.suffix.lower() != ".html":
        raise UsageError(f"out={out}: must end in .html")
    if path is not None:
        check_replaceable(path)
    for run in (first, second):
        if read_config(run).get("several_labels"):
            raise UsageError(
                f"run={run}: learned clips with several labels, and clips are compared by one; "
                "compare the mean average precision of both runs' summary.json"
            )
    paired = compare_predictions(read_predictions(first), read_predictions(second))
    result = Comparison(path=path, first=str(first), second=str(second), paired=paired)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, _render(result))
    return result


def _render(result: Comparison) -> str:
    return render(
        "comparison.html",
        names=[local_path(name).resolve().name for name in (result.first, result.second)],
        paired=result.paired,
    )
