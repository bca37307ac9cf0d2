"""The result of an extraction job: counts, times, and the stage that limited it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from kinestore.pipeline.extraction.tasks import OutputSpec, ShardResult
from kinestore.store import ViewSpec

DECODER_STAGES = ("fetch", "decode", "prepare", "frames")
"""Stages that several threads of a worker may do."""

_JSON_KEYS = {
    "num_done": "done",
    "num_skipped": "skipped",
    "num_failed": "failed",
    "num_warnings": "warnings",
    "num_workers": "workers",
}


@dataclass(frozen=True, kw_only=True)
class ExtractionResult:
    """Result of an extraction job; num_done + num_skipped + num_failed is the number of videos.

    Folders that could not be read count as failed videos.

    Attributes:
        path: Folder or address of the store.
        num_done: Videos whose missing embeddings and frames were stored by this job.
        num_skipped: Videos that had everything already.
        num_failed: Videos with something missing now; the recorded failures give the reasons.
        seconds: Wall time.
        num_frames: Frames decoded.
        num_warnings: Clips that were decoded past some damage; see the column `warning` of clips.
        stage_seconds: Time by stage, summed over workers.
        clips_per_s: Videos done per second of wall time, startup included.
        frames_per_s: Frames decoded per second of wall time.
        bound_by: The stage that was busy for most of the time; None if nothing was done.
        bound_share: Fraction of the time that this stage was busy, over all threads that do it.
            If the other stages took no time, the job would be at most 1 / bound_share times as
            fast.
        num_workers: Worker processes.
        views: Names of the views that the job filled, by extractor.
        frames: Names of the clips of frames that it filled, by clip format.
        frames_bytes: Size of the clips of frames stored by this job.
        notes: What was left out, or read in another way than written, as printed on the terminal.
        left_out: Number of files and folders that were left out of a folder, by the reason.
        num_by_label: Number of the job's videos by label, with those that have none under ""; one
            with several labels counts for each.
        num_by_group: Number of the job's videos by group, in the same form.
        num_by_split: Number of the job's videos by split, in the same form.
    """

    path: Path | str
    num_done: int
    num_skipped: int
    num_failed: int
    seconds: float
    num_frames: int
    num_warnings: int
    stage_seconds: Mapping[str, float]
    clips_per_s: float
    frames_per_s: float
    bound_by: str | None
    bound_share: float
    num_workers: int
    views: Mapping[str, str]
    frames: Mapping[str, str]
    frames_bytes: int
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    num_by_label: Mapping[str, int] = field(default_factory=dict)
    num_by_group: Mapping[str, int] = field(default_factory=dict)
    num_by_split: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return what `extract --json` prints and the store's `summary.json` holds."""
        names = [field.name for field in fields(self) if field.name != "path"]
        return {_JSON_KEYS.get(name, name): getattr(self, name) for name in names}


def summarize(
    path: Path | str,
    shards: Sequence[ShardResult],
    *,
    num_done: int,
    num_skipped: int,
    num_failed: int,
    seconds: float,
    num_workers: int,
    specs: Mapping[str, OutputSpec],
) -> ExtractionResult:
    """Add up the results of all shards and find the stage that took most of the time."""
    stages: dict[str, float] = defaultdict(float)
    for shard in shards:
        for stage, spent in shard.seconds.items():
            stages[stage] += spent
    num_frames = sum(shard.num_frames for shard in shards)
    num_decoders = max((shard.num_decoders for shard in shards), default=1)
    busy = {s: t / (num_decoders if s in DECODER_STAGES else 1) for s, t in stages.items()}
    bound_by = max(busy, key=lambda stage: busy[stage], default=None)
    return ExtractionResult(
        path=path,
        num_done=num_done,
        num_skipped=num_skipped,
        num_failed=num_failed,
        seconds=round(seconds, 3),
        num_frames=num_frames,
        num_warnings=sum(shard.num_warnings for shard in shards),
        stage_seconds={stage: round(spent, 3) for stage, spent in sorted(stages.items())},
        clips_per_s=round(num_done / seconds, 3),
        frames_per_s=round(num_frames / seconds, 1),
        bound_by=bound_by,
        bound_share=round(busy[bound_by] / (num_workers * seconds), 3) if bound_by else 0.0,
        num_workers=num_workers,
        views={n: spec.name for n, spec in specs.items() if isinstance(spec, ViewSpec)},
        frames={n: spec.name for n, spec in specs.items() if not isinstance(spec, ViewSpec)},
        frames_bytes=sum(shard.frames_bytes for shard in shards),
    )
