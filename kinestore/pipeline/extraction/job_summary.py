"""What an extraction job did, and what bound it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinestore.pipeline.extraction.process_shard import Receipt, Spec
from kinestore.store import ViewSpec

BY_DECODERS = ("fetch", "decode", "prepare", "frames")
"""Stages that several threads of a worker may do."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an extraction job did; done + skipped + failed is the number of inputs.

    Attributes:
        done: Inputs whose missing embeddings and frames were taken now.
        skipped: Inputs that had everything already.
        failed: Inputs that lack something now; the ledger says why.
        seconds: Wall time.
        num_frames: Frames decoded.
        warnings: Clips that were decoded past some damage; the column `warning` tells of it.
        stage_seconds: Time by stage, summed over workers.
        clips_per_s: Inputs done in a second of wall time, starting included.
        frames_per_s: Frames decoded in a second of wall time.
        bound_by: The stage that was busy for most of the time, or None if nothing was done.
        bound_share: Fraction of the time that it was busy, over all threads that do it: with it
            alone to do, the job would have been faster by no more than one over this.
        workers: Worker processes.
        views: The views that the job filled, by extractor.
        frames: The folders of frames that it filled, by what was asked for.
        frames_bytes: Of the frames that were kept now.
    """

    done: int
    skipped: int
    failed: int
    seconds: float
    num_frames: int
    warnings: int
    stage_seconds: Mapping[str, float]
    clips_per_s: float
    frames_per_s: float
    bound_by: str | None
    bound_share: float
    workers: int
    views: Mapping[str, str]
    frames: Mapping[str, str]
    frames_bytes: int


def summarise(
    *,
    done: int,
    skipped: int,
    failed: int,
    seconds: float,
    receipts: Sequence[Receipt],
    workers: int,
    specs: Mapping[str, Spec],
) -> Summary:
    """Add up what the workers did, and name the stage that took most of their time."""
    stages: dict[str, float] = defaultdict(float)
    for receipt in receipts:
        for stage, spent in receipt.seconds.items():
            stages[stage] += spent
    num_frames = sum(receipt.num_frames for receipt in receipts)
    decoders = max((receipt.decoders for receipt in receipts), default=1)
    busy = {s: t / (decoders if s in BY_DECODERS else 1) for s, t in stages.items()}
    bound_by = max(busy, key=lambda stage: busy[stage], default=None)
    return Summary(
        done=done,
        skipped=skipped,
        failed=failed,
        seconds=round(seconds, 3),
        num_frames=num_frames,
        warnings=sum(receipt.num_warnings for receipt in receipts),
        stage_seconds={stage: round(spent, 3) for stage, spent in sorted(stages.items())},
        clips_per_s=round(done / seconds, 3),
        frames_per_s=round(num_frames / seconds, 1),
        bound_by=bound_by,
        bound_share=round(busy[bound_by] / (workers * seconds), 3) if bound_by else 0.0,
        workers=workers,
        views={n: spec.name for n, spec in specs.items() if isinstance(spec, ViewSpec)},
        frames={n: spec.name for n, spec in specs.items() if not isinstance(spec, ViewSpec)},
        frames_bytes=sum(receipt.frames_bytes for receipt in receipts),
    )
