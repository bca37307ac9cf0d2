"""Tables and sentences that commands print about their results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from kinestore.pipeline.commands.console import say

if TYPE_CHECKING:
    from kinestore.extractors.weights.inventory import WeightFileStatus
    from kinestore.pipeline.extraction.result import ExtractionResult
    from kinestore.pipeline.recipes.demo import DemoStep
    from kinestore.store import Failure
    from kinestore.store.findings import VerifyReport


def say_extraction(result: "ExtractionResult") -> None:
    """Print the result of an extraction."""
    if not result.num_done and not result.num_failed:
        print(f"Nothing to do: {result.path} has all {result.num_skipped} clips already.")
        return
    table = Table("clips", "", title=f"extraction into {result.path}", title_justify="left")
    table.add_row("done", str(result.num_done))
    table.add_row("skipped", str(result.num_skipped))
    table.add_row("failed", str(result.num_failed))
    if result.num_warnings:
        table.add_row(
            "decoded in spite of damage (column `warning` of clips)", str(result.num_warnings)
        )
    for reason, count in result.left_out.items():
        if count:
            table.add_row(f"left out: {reason.replace('_', ' ')}", str(count))
    for stage, seconds in result.stage_seconds.items():
        table.add_row(f"{stage}, s over all workers", f"{seconds:.1f}")
    table.add_row("seconds", f"{result.seconds:.1f}")
    table.add_row("clips/s", f"{result.clips_per_s:.2f}")
    table.add_row("decoded frames/s", f"{result.frames_per_s:.0f}")
    if result.bound_by:
        bound = f"{escape(result.bound_by)}, {result.bound_share:.0%} of the workers' time"
        table.add_row("bound by", bound)
    say(table)
    if result.num_failed:
        print(f"Failed clips and reasons: kinestore failures {result.path}")


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


def verify_table(report: "VerifyReport", store: str) -> RenderableType:
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


def weights_table(found: "Sequence[WeightFileStatus]") -> Table:
    """Return the weight files of extractors, one in a row."""
    folded = (Column(name, overflow="fold") for name in ("source", "path, sha256"))
    table = Table("extractor", "weights", Column("MiB", justify="right"), *folded)
    for file in found:
        size = f"{file.size_bytes / 2**20:.0f}" if file.size_bytes else ""
        where = file.path if not file.sha256 else f"{file.path}\n{file.sha256}"
        table.add_row(file.extractor, file.state, size, escape(file.source), escape(where))
    return table
