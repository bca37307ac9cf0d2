"""Data that travels between the job and its Dask workers: tasks out, results back.

Only names and paths travel to a worker; frames and embeddings never go through Dask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kinestore.pipeline.extraction.outputs import Output
from kinestore.pipeline.video.errors import VideoError
from kinestore.store import Failure, FramesSpec, Source, ViewSpec

OutputSpec = ViewSpec | FramesSpec
"""The store's name and settings of a view of embeddings, or of clips of frames."""

GPU = "GPU"
"""The resource that a worker with a GPU of its own has: `dask worker --resources GPU=1`."""


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """One clip with missing outputs.

    Attributes:
        clip_id: Identity of its bytes.
        sources: The paths with those bytes; the first is read.
        outputs: Names of the missing outputs.
        known: Whether the store has the clip's own row already.
        attempt: 1, or more where the clip failed before.
    """

    clip_id: str
    sources: tuple[Source, ...]
    outputs: tuple[str, ...]
    known: bool
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Clips that are committed together, as the part of this number."""

    number: int
    clips: tuple[ClipTask, ...]


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """Counts, failures and times of one finished shard.

    Attributes:
        done: Identities of the clips whose missing outputs were all stored.
        failures: The recorded failures, one for each source of a failed clip.
        num_frames: Frames decoded.
        num_warnings: Clips that were decoded past some damage.
        seconds: Time by stage, as in `ipc.ClipResult`, and "commit".
        num_decoders: Threads that fetched, decoded and prepared; the other stages have one.
        frames_bytes: Size of the stored clips of frames.
    """

    done: tuple[str, ...]
    failures: tuple[Failure, ...]
    num_frames: int = 0
    num_warnings: int = 0
    seconds: Mapping[str, float]
    num_decoders: int = 1
    frames_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Settings that every worker of a job receives.

    Attributes:
        store: Folder of the store, the same for all workers.
        outputs: The outputs of the job, by name.
        clip_timeout_s: Seconds that one clip may take.
        on_gpu_workers: Whether only workers with the resource `GPU` take part.
        gpus: GPUs that the workers of this machine share, by CUDA's names.
    """

    store: str
    outputs: Mapping[str, Output]
    clip_timeout_s: float
    on_gpu_workers: bool = False
    gpus: Sequence[str] = ()


def failure_rows(task: ClipTask, error: VideoError, *, stage: str, view: str = "") -> list[Failure]:
    """Return the recorded failures of a clip, one for each of its sources, which each names."""
    read = task.sources[0].uri
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Failure(
            uri=source.uri,
            clip_id=task.clip_id,
            view=view,
            stage=stage,
            kind=error.kind,
            message=str(error).replace(read, source.uri).encode(errors="backslashreplace").decode(),
            when=when,
            attempt=task.attempt,
        )
        for source in task.sources
    ]
