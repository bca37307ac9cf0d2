"""Write a run as one page, to open in a browser, print or put into a wiki."""

from dataclasses import asdict, dataclass
from pathlib import Path

from kinestore.pipeline.previews.thumbnails import unfetched
from kinestore.pipeline.replaceable import check_replaceable
from kinestore.pipeline.report.class_statistics import mistakes
from kinestore.pipeline.report.clip_cards import read_clip_cards
from kinestore.pipeline.report.report_page import MOST_MISTAKES, render_report
from kinestore.pipeline.report.run_record import read_run
from kinestore.progress import Progress
from kinestore.store import Store, UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.atomic import write_text


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """A report that was written.

    Attributes:
        path: Path of the page.
        num_test_clips: Clips with a prediction.
        num_mistakes: Those of them that are misclassified.
        num_thumbnails: Clips that are shown with a picture.
        unfetched: Description of clips without one, as the store may not follow addresses.
    """

    path: Path
    num_test_clips: int
    num_mistakes: int
    num_thumbnails: int
    unfetched: str = ""

    def to_json(self) -> dict[str, object]:
        """Return all figures as values of JSON."""
        return {**asdict(self), "path": str(self.path)}


def report(
    run: str | Path,
    *,
    out: str | Path,
    store: Store | str | Path | None = None,
    progress: Progress | None = None,
) -> ReportResult:
    """Write a self-contained HTML page of a finished run.

    Args:
        run: The run folder.
        out: The .html file to write; its folder is made if absent.
        store: Store with the run's clips: for thumbnails, captions and file names of the most
            confident errors, which without it are listed by clip_id.
        progress: Called after each thumbnail.

    Returns:
        The page that was written; the same run, store and versions give the same bytes.

    Raises:
        UsageError: If the file has another ending, the folder holds no finished run that can be
            used, or the store has none of its clips.
        StoreError: If there is no store, or a broken one.
    """
    path = local_path(out)
    if path.suffix.lower() != ".html":
        raise UsageError(f"out={out}: must end in .html")
    check_replaceable(path)
    record = read_run(run)
    found = mistakes(record.predictions)
    cards, missing = {}, ""
    if store is not None:
        opened = store if isinstance(store, Store) else Store(store)
        wanted = [one.clip_id for one in found[:MOST_MISTAKES]]
        cards = read_clip_cards(opened, wanted, progress=progress)
        missing = unfetched(opened, wanted)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_report(record, found, cards))
    return ReportResult(
        path=path,
        num_test_clips=len(record.predictions.clip_ids),
        num_mistakes=len(found),
        num_thumbnails=sum(card.picture is not None for card in cards.values()),
        unfetched=missing,
    )
