"""What a person sees: progress bars on a terminal, tables, and nothing where nobody looks."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from kinestore.pipeline.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from kinestore.extractors.weights.inventory import Kept
    from kinestore.pipeline.extraction.job_summary import Summary
    from kinestore.pipeline.recipes.demo import Step
    from kinestore.store import Failure
    from kinestore.store.findings import Report


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show a bar for each stage on standard error, or nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(escape(stage), total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=escape(note))

        yield show


def say(what: RenderableType) -> None:
    """Print a table, or a text as it is, on standard output."""
    if isinstance(what, str):
        print(what)
    else:
        Console().print(what)


def say_summary(summary: "Summary", store: "Path") -> None:
    """Print what an extraction did."""
    if not summary.done and not summary.failed:
        print(f"Nothing to do: {store} has all {summary.skipped} clips already.")
        return
    table = Table("clips", "", title=f"extracted into {store}", title_justify="left")
    for name in ("done", "skipped", "failed"):
        table.add_row(name, str(getattr(summary, name)))
    if summary.warnings:
        table.add_row("decoded past damage (column `warning` of clips)", str(summary.warnings))
    for stage, seconds in summary.stage_seconds.items():
        table.add_row(f"{stage}, s over all workers", f"{seconds:.1f}")
    table.add_row("seconds", f"{summary.seconds:.1f}")
    table.add_row("clips/s", f"{summary.clips_per_s:.2f}")
    table.add_row("decoded frames/s", f"{summary.frames_per_s:.0f}")
    if summary.bound_by:
        bound = f"{escape(summary.bound_by)}, {summary.bound_share:.0%} of the workers' time"
        table.add_row("bound by", bound)
    say(table)
    if summary.failed:
        print(f"What failed and why: kinestore failures {store}")


def status_table(found: Mapping[str, Any]) -> Table:
    """A store's views and kinds of frames, one a row, under its number of clips."""
    title = f"{found['store']}: {found['clips']} clips, {found['failures']} failures"
    table = Table("view", "fingerprint", "rows", "shape", title=escape(title))
    for view in found["views"]:
        shape = " x ".join(map(str, view["shape"]))
        table.add_row(view["extractor"], view["fingerprint"], str(view["rows"]), shape)
    for kind in found["frames"]:
        shape = " x ".join(map(str, kind["shape"]))
        clips = "" if kind["clips"] is None else str(kind["clips"])
        size = "" if kind["bytes"] is None else f", {kind['bytes'] / 1e6:,.0f} MB"
        table.add_row(kind["kind"], kind["fingerprint"], clips, shape + size)
    return table


def failures_table(failures: Sequence["Failure"]) -> RenderableType:
    """The ledger, one failure a row."""
    if not failures:
        return "No failures."
    table = Table("stage", "kind", "message", "attempt")
    for failure in failures:
        table.add_row(failure.stage, failure.kind, escape(failure.message), str(failure.attempt))
    return table


def verify_table(report: "Report", store: str) -> RenderableType:
    """What a verification found, one finding a row, under what it comes to."""
    state = "sound" if report.sound else "broken"
    title = f"{store}: {state}, {report.num_parts} parts checked"
    if report.dropped:
        title += f", {len(report.dropped)} files dropped; the same extract makes their rows again"
    if not report.findings:
        return title
    table = Table(Column("path", overflow="fold"), "kind", "message", title=escape(title))
    for finding in report.findings:
        kind = f"{finding.kind}, dropped" if finding.path in report.dropped else finding.kind
        table.add_row(escape(finding.path), kind, escape(finding.message))
    return table


def run_table(summary: Mapping[str, Any], out: "Path") -> Table:
    """What a training job reached, and where it left it."""
    table = Table("", "", title=escape(f"run {out}"), title_justify="left", show_header=False)
    table.add_row("clips", f"{summary['num_train']} fitted, {summary['num_test']} scored")
    table.add_row("scored on", summary["evaluation"])
    for name in ("top1", "top5", "macro_f1"):
        table.add_row(name, f"{summary[name]:.3f}")
    if "bytes_up" in summary:
        table.add_row("sent up", f"{summary['bytes_up'] / 1e6:.1f} MB")
        table.add_row("sent down", f"{summary['bytes_down'] / 1e6:.1f} MB")
    table.add_row("seconds", f"{summary['seconds']:.1f}")
    return table


def explanation(told: Mapping[str, Any]) -> str:
    """What a net sees, and where, in a line."""
    names = f"{told['class']} {told['probability']:.3f}"
    if told["class"] != told["predicted"]:
        names += f" (the net names {told['predicted']})"
    peak, side = told["peak"], told["size"]
    where = f"nothing in {told['layer']} speaks for it"
    if peak is not None:
        at = f"frame {peak['frame']} ({peak['time_s']:.2f} s), x {peak['x']}, y {peak['y']}"
        where = f"most of all at {at} of {side} x {side}"
    return f"{names}: {where}; drawn in {told['out']}"


def demo_table(folder: Path, steps: Sequence["Step"]) -> Table:
    """What the demo did, how well, how fast, and where in its folder that lies."""
    total = sum(step.seconds for step in steps)
    where = Column("where", overflow="fold")
    table = Table("step", "top-1", "seconds", where, caption="chance is 0.167")
    for step in steps:
        top1 = "" if step.top1 is None else f"{step.top1:.3f}"
        table.add_row(
            step.what, top1, f"{step.seconds:.1f}", escape(str(step.where.relative_to(folder)))
        )
    table.add_row("in all", "", f"{total:.1f}", "")
    return table


def weights_table(found: "Sequence[Kept]") -> Table:
    """The weights of each extractor."""
    folded = (Column(name, overflow="fold") for name in ("from", "where, sha256"))
    table = Table("extractor", "weights", Column("MiB", justify="right"), *folded)
    for kept in found:
        size = f"{kept.size_bytes / 2**20:.0f}" if kept.size_bytes else ""
        where = kept.path if not kept.sha256 else f"{kept.path}\n{kept.sha256}"
        table.add_row(kept.extractor, kept.state, size, escape(kept.source), escape(where))
    return table
