"""Write a run as one page, to open in a browser, print or put into a wiki."""

from collections.abc import Callable
from pathlib import Path

from kinestore.pipeline.report.class_statistics import mistakes
from kinestore.pipeline.report.clip_cards import read_clip_cards
from kinestore.pipeline.report.report_page import MOST_MISTAKES, render_report
from kinestore.pipeline.report.run_record import read_run
from kinestore.store import Store, UsageError
from kinestore.store.io.atomic import write_text


def report(
    run: str | Path,
    *,
    out: str | Path,
    store: Store | str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a self-contained HTML page of a finished run.

    Args:
        run: The run folder.
        out: The .html file to write; its folder is made if absent.
        store: Store with the run's clips: for thumbnails, captions and file names of the most
            confident errors, which without it are listed by clip_id.
        on_progress: Called with the number of thumbnails done and of all.

    Returns:
        Path of the page; the same run, store and versions give the same bytes.

    Raises:
        UsageError: If the file has another ending, the folder holds no finished run that can be
            used, or the store has none of its clips.
        StoreError: If there is no store, or a broken one.
    """
    path = Path(out)
    if path.suffix.lower() != ".html":
        raise UsageError(f"out={out}: must end in .html")
    record = read_run(run)
    found = mistakes(record.predictions)
    cards = {}
    if store is not None:
        opened = store if isinstance(store, Store) else Store(store)
        wanted = [one.clip_id for one in found[:MOST_MISTAKES]]
        cards = read_clip_cards(opened, wanted, on_progress=on_progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_report(record, found, cards))
    return path
