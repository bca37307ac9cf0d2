"""Tables and sentences that commands print about their results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from kinestore.pipeline.commands.console import say, text_table
from kinestore.pipeline.printable import printable

if TYPE_CHECKING:
    from kinestore.extractors.weights.inventory import WeightFileStatus
    from kinestore.pipeline.extraction.result import ExtractionResult
    from kinestore.pipeline.recipes.demo import DemoStep
    from kinestore.pipeline.verification.findings import VerifyReport
    from kinestore.store import Failure


_MOST_NAMES = 10


def say_extraction(result: "ExtractionResult") -> None:
    """Print the result of an extraction."""
    if not result.num_done and not result.num_failed:
        say(f"Nothing to compute: {result.path} has all {result.num_skipped} clips already.")
        _say_counts(result)
        return
    rows = [("done", result.num_done), ("skipped", result.num_skipped)]
    rows += [("failed", result.num_failed)]
    if result.num_warnings:
        rows += [("decoded in spite of damage (column `warning` of clips)", result.num_warnings)]
    for reason, count in result.left_out.items():
        if count:
            rows += [(f"left out: {reason.replace('_', ' ')}", count)]
    figures = [
        *(
            (f"{stage}, seconds of all workers", f"{s:.1f}")
            for stage, s in result.stage_seconds.items()
        ),
        ("seconds", f"{result.seconds:.1f}"),
        ("clips/s", f"{result.clips_per_s:.2f}"),
        ("decoded frames/s", f"{result.frames_per_s:.0f}"),
    ]
    if result.bound_by:
        bound = f"{result.bound_by}, {result.bound_share:.0%} of the workers' time"
        figures += [("slowest stage", bound)]
    say(text_table(("clips", ""), [*rows, *figures], title=f"extraction into {result.path}"))
    _say_counts(result)
    if result.num_failed:
        say(f"Failed clips and reasons: kinestore failures {result.path}")


def _say_counts(result: "ExtractionResult") -> None:
    """Print how many videos each class, group and split has."""
    kinds = [
        _counted("class", "classes", "labels", result.num_by_label),
        _counted("group", "groups", "groups", result.num_by_group),
        _counted("split", "splits", "splits", result.num_by_split),
    ]
    say("; ".join(kinds))
    if set(result.num_by_label) == {""} and result.num_done + result.num_skipped > 1:
        say(
            "No video has a label, and training needs labels: use class folders or a table with a "
            "column label, and extract again, which computes nothing twice."
        )


def _counted(one: str, several: str, absent: str, counts: Mapping[str, int]) -> str:
    """Return "2 classes: fight 25, noFight 25", with ten names at most."""
    named = sorted(name for name in counts if name)
    if not named:
        return f"no {absent}"
    listed = ", ".join(f"{printable(name)} {counts[name]}" for name in named[:_MOST_NAMES])
    listed += ", ..." if len(named) > _MOST_NAMES else ""
    without = f", none {counts['']}" if counts.get("") else ""
    return f"{len(named)} {one if len(named) == 1 else several}: {listed}{without}"


def status_table(found: Mapping[str, Any]) -> RenderableType:
    """Return a table with one row for each view and each kind of stored frames."""
    rows = []
    for view in found["views"]:
        shape = " x ".join(map(str, view["shape"]))
        named = (view["extractor"], view["fingerprint"], view["rows"], shape)
        rows.append((*named, _own_settings(view, found["views"])))
    for kind in found["frames"]:
        shape = " x ".join(map(str, kind["shape"]))
        clips = "" if kind["clips"] is None else kind["clips"]
        size = "" if kind["bytes"] is None else f", {kind['bytes'] / 1e6:,.0f} MB"
        rows.append((kind["kind"], kind["fingerprint"], clips, shape + size, ""))
    title = f"{found['store']}: {found['clips']} clips, {found['failures']} failures"
    columns = ("view", "fingerprint", "rows", "shape", "settings that differ")
    kept = len(columns) if any(row[-1] for row in rows) else -1
    return text_table(columns[:kept], [row[:kept] for row in rows], title=title)


def _own_settings(view: Mapping[str, Any], views: Sequence[Mapping[str, Any]]) -> str:
    """Return the settings of a view, such as its weights, that others of its extractor have not."""

    def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in settings.items():
            path = f"{before}{name}"
            found |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
        return found

    def base(one: Mapping[str, Any]) -> object:
        return one["settings"].get("extractor", one["extractor"])

    own = flat(view["settings"])
    others = [flat(one["settings"]) for one in views if one is not view and base(one) == base(view)]
    differ = [name for name in own if any(one.get(name) != own[name] for one in others)]
    return ", ".join(f"{name}={own[name]}" for name in differ if name != "extractor")


def failure_log_table(failures: Sequence["Failure"]) -> RenderableType:
    """Return the failure log, one row for each failed input; each names its file."""
    if not failures:
        return "No failures."
    rows = []
    for one in failures:
        named = one.message if one.uri in one.message else f"{one.uri}: {one.message}"
        rows.append((one.stage, one.kind, named, one.attempt))
    return text_table(("stage", "kind", "message", "attempt"), rows)


def verify_table(report: "VerifyReport", store: str) -> RenderableType:
    """Return the findings of a verification, one in a row."""
    state = "sound" if report.sound else "broken"
    title = f"{store}: {state}, {report.num_parts} parts checked"
    if report.dropped:
        title += f", {len(report.dropped)} files removed; run the same extract command to refill"
    if not report.findings:
        return title
    rows = []
    for finding in report.findings:
        kind = f"{finding.kind}, removed" if finding.path in report.dropped else finding.kind
        rows.append((finding.path, kind, finding.message))
    return text_table(("path", "kind", "message"), rows, title=title)


def run_table(summary: Mapping[str, Any], out: "Path") -> RenderableType:
    """Return the scores of a training run."""
    clips = f"{summary['num_train']} training, {summary['num_test']} test"
    if summary["model"] == "all rows":
        clips = f"{summary['num_test']}, each tested by a model that was not trained on it"
    rows = [("clips", clips), ("test set", summary["evaluation"])]
    if (precision := summary.get("mean_average_precision")) is not None:
        rows.append(("mean average precision", f"{precision:.3f}"))
    rows += [(name, f"{summary[name]:.3f}") for name in ("top1", "top5", "macro_f1")]
    rows += _best_and_last_rows(summary.get("best_and_last"))
    if unused := summary.get("num_unused"):
        rows.append(("training clips that no client has", str(unused)))
    if untested := summary.get("num_untested"):
        rows.append(("test clips of no client, not tested", str(untested)))
    for name, kind in {
        "untrained_classes": "classes that were never trained",
        "left_out_clients": "clients with too few clips, left out",
        "rejected_updates": "updates rejected",
    }.items():
        if listed := summary.get(name):
            rows.append((f"{len(listed)} {kind}", _first_of(listed)))
    if taken := summary.get("weights_taken"):
        rows.append(("weights taken", taken))
    if spent := summary.get("privacy"):
        epsilon = "infinity" if spent["epsilon"] is None else f"{spent['epsilon']:.3g}"
        rows.append(("privacy of the model", f"epsilon {epsilon} for delta 1e-5"))
        rows.append(("features", "not scaled, as the statistics of clients have no noise"))
    if "bytes_up" in summary:
        rows += [("sent by clients", f"{summary['bytes_up'] / 1e6:.1f} MB")]
        rows += [("sent to clients", f"{summary['bytes_down'] / 1e6:.1f} MB")]
    rows += [("seconds", f"{summary['seconds']:.1f}")]
    return text_table(("", ""), rows, title=f"run {out}")


def _best_and_last_rows(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the accuracies of the last, the chosen and the best step, and convergence."""
    if not found:
        return []
    unit, rows = found["unit"], []
    for key, name in {
        "last": "last",
        "chosen_on_validation": "chosen on the validation clips",
        "best_on_test": "best on the test clips, chosen after the fact",
    }.items():
        if score := found[key]:
            at = _span(score["steps"].values())
            figures = f"top-1 {score['top1']:.3f}, top-5 {score['top5']:.3f}"
            rows.append((f"{name}: {unit} {at}", figures))
    steps = [step for step in found["steps_to_convergence"].values() if step is not None]
    if steps:
        rows.append((f"{unit}s to convergence", _span(steps)))
    return rows


def _span(steps: Iterable[int]) -> str:
    """Return a number, or the range of those of several folds."""
    listed = sorted(steps)
    low, high = listed[0], listed[-1]
    return f"{low}" if low == high else f"{low} to {high}"


def _first_of(sentences: Sequence[str], *, most: int = 5) -> str:
    """Return the first sentences in lines, and the number of the others."""
    more = len(sentences) - most
    others = [f"and {more} more, in summary.json"] if more > 0 else []
    return "\n".join([*sentences[:most], *others])


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


def demo_table(folder: Path, steps: Sequence["DemoStep"]) -> RenderableType:
    """Return the steps of the demo: accuracy, duration, and output in the demo's folder."""
    rows = []
    for step in steps:
        top1 = "" if step.top1 is None else f"{step.top1:.3f}"
        rows.append((step.name, top1, f"{step.seconds:.1f}", step.output.relative_to(folder)))
    total = ("total", "", f"{sum(step.seconds for step in steps):.1f}", "")
    columns = ("step", "top-1", "seconds", "output")
    return text_table(columns, [*rows, total], caption="chance level: 0.167")


def weights_table(found: "Sequence[WeightFileStatus]") -> RenderableType:
    """Return the weight files of extractors, one in a row."""
    rows = []
    for file in found:
        size = f"{file.size_bytes / 2**20:.0f}" if file.size_bytes else ""
        rows.append((file.extractor, file.state, size, file.source, file.path, file.sha256))
    columns = ("extractor", "weights", "MiB", "source", "path", "sha256")
    return text_table(columns, rows, right=("MiB",))
