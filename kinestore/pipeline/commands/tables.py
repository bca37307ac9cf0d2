"""Tables and sentences that commands print about their results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from kinestore.pipeline.commands.console import say

if TYPE_CHECKING:
    from kinestore.extractors.weights.inventory import Kept
    from kinestore.pipeline.extraction.job_summary import Summary
    from kinestore.pipeline.recipes.demo import DemoStep
    from kinestore.store import Failure
    from kinestore.store.findings import Report


def say_summary(summary: "Summary", store: "Path") -> None:
    """Print the result of an extraction."""
    if not summary.done and not summary.failed:
        print(f"Nothing to do: {store} has all {summary.skipped} clips already.")
        return
    table = Table("clips", "", title=f"extraction into {store}", title_justify="left")
    for name in ("done", "skipped", "failed"):
        table.add_row(name, str(getattr(summary, name)))
    if summary.warnings:
        table.add_row(
            "decoded in spite of damage (column `warning` of clips)", str(summary.warnings)
        )
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
        print(f"Failed clips and reasons: kinestore failures {store}")


def status_table(found: Mapping[str, Any]) -> Table:
    """Return a table with one row for each view and each kind of stored frames."""
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


def failure_log_table(failures: Sequence["Failure"]) -> RenderableType:
    """Return the failure log, one row for each failed input."""
    if not failures:
        return "No failures."
    table = Table("stage", "kind", "message", "attempt")
    for failure in failures:
        table.add_row(failure.stage, failure.kind, escape(failure.message), str(failure.attempt))
    return table


def verify_table(report: "Report", store: str) -> RenderableType:
    """Return the findings of a verification, one in a row."""
    state = "sound" if report.sound else "broken"
    title = f"{store}: {state}, {report.num_parts} parts checked"
    if report.dropped:
        title += f", {len(report.dropped)} files removed; run the same extract command to refill"
    if not report.findings:
        return title
    table = Table(Column("path", overflow="fold"), "kind", "message", title=escape(title))
    for finding in report.findings:
        kind = f"{finding.kind}, removed" if finding.path in report.dropped else finding.kind
        table.add_row(escape(finding.path), kind, escape(finding.message))
    return table


def run_table(summary: Mapping[str, Any], out: "Path") -> Table:
    """Return the scores of a training run."""
    table = Table("", "", title=escape(f"run {out}"), title_justify="left", show_header=False)
    table.add_row("clips", f"{summary['num_train']} training, {summary['num_test']} test")
    table.add_row("test set", summary["evaluation"])
    for name in ("top1", "top5", "macro_f1"):
        table.add_row(name, f"{summary[name]:.3f}")
    if "bytes_up" in summary:
        table.add_row("sent by clients", f"{summary['bytes_up'] / 1e6:.1f} MB")
        table.add_row("sent to clients", f"{summary['bytes_down'] / 1e6:.1f} MB")
    table.add_row("seconds", f"{summary['seconds']:.1f}")
    return table


def explanation_text(result: Mapping[str, Any]) -> str:
    """Return one line: the class, its probability, and the location of the strongest evidence."""
    names = f"{result['class']} {result['probability']:.3f}"
    if result["class"] != result["predicted"]:
        names += f" (predicted class: {result['predicted']})"
    peak, side = result["peak"], result["size"]
    where = f"no evidence for it in {result['layer']}"
    if peak is not None:
        at = f"frame {peak['frame']} ({peak['time_s']:.2f} s), x {peak['x']}, y {peak['y']}"
        where = f"strongest evidence at {at} of {side} x {side} pixels"
    return f"{names}: {where}; written to {result['out']}"


def demo_table(folder: Path, steps: Sequence["DemoStep"]) -> Table:
    """Return the steps of the demo: accuracy, duration, and output in the demo's folder."""
    total = sum(step.seconds for step in steps)
    output = Column("output", overflow="fold")
    table = Table("step", "top-1", "seconds", output, caption="chance level: 0.167")
    for step in steps:
        top1 = "" if step.top1 is None else f"{step.top1:.3f}"
        table.add_row(
            step.name, top1, f"{step.seconds:.1f}", escape(str(step.output.relative_to(folder)))
        )
    table.add_row("total", "", f"{total:.1f}", "")
    return table


def weights_table(found: "Sequence[Kept]") -> Table:
    """Return the weight files of extractors, one in a row."""
    folded = (Column(name, overflow="fold") for name in ("source", "path, sha256"))
    table = Table("extractor", "weights", Column("MiB", justify="right"), *folded)
    for kept in found:
        size = f"{kept.size_bytes / 2**20:.0f}" if kept.size_bytes else ""
        where = kept.path if not kept.sha256 else f"{kept.path}\n{kept.sha256}"
        table.add_row(kept.extractor, kept.state, size, escape(kept.source), escape(where))
    return table
