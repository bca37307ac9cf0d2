"""Kinestore: a feature store for video action recognition.

The public Python names: `import kinestore as ks`. A name imports what it needs when it is
first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinestore.federated.simulation import simulate
    from kinestore.heads import HEAD_TRAINING, NETWORK_TRAINING, TrainingConfig
    from kinestore.pipeline.decode import Frames, VideoError, decode_frames, probe
    from kinestore.pipeline.explain import explain
    from kinestore.pipeline.export import Exported, export
    from kinestore.pipeline.extract import extract
    from kinestore.pipeline.extraction.config import ExtractionConfig
    from kinestore.pipeline.extraction.result import ExtractionResult
    from kinestore.pipeline.keyframes import select_keyframes
    from kinestore.pipeline.projection import UmapConfig, umap
    from kinestore.pipeline.report import report
    from kinestore.pipeline.runs.summary import RunSummary
    from kinestore.pipeline.training.config import (
        EvaluationConfig,
        EvaluationViews,
        FederationConfig,
    )
    from kinestore.pipeline.training.federated.federate import (
        CLIENT_HEAD_TRAINING,
        CLIENT_NETWORK_TRAINING,
        federate,
    )
    from kinestore.pipeline.training.networks.clip_data import FrameClips
    from kinestore.pipeline.training.train import train
    from kinestore.store import (
        Clip,
        Embedding,
        Failure,
        Features,
        FramesSpec,
        KinestoreError,
        Snapshot,
        Source,
        Store,
        StoredFrames,
        StoreError,
        UsageError,
        VideoInfo,
        View,
        ViewSpec,
    )
    from kinestore.store.findings import VerifyReport
    from kinestore.store.status import StoreStatus, status
    from kinestore.store.verify import verify

__all__ = [
    "CLIENT_HEAD_TRAINING",
    "CLIENT_NETWORK_TRAINING",
    "HEAD_TRAINING",
    "NETWORK_TRAINING",
    "Clip",
    "Embedding",
    "EvaluationConfig",
    "EvaluationViews",
    "Exported",
    "ExtractionConfig",
    "ExtractionResult",
    "Failure",
    "Features",
    "FederationConfig",
    "FrameClips",
    "Frames",
    "FramesSpec",
    "KinestoreError",
    "RunSummary",
    "Snapshot",
    "Source",
    "Store",
    "StoreError",
    "StoreStatus",
    "StoredFrames",
    "TrainingConfig",
    "UmapConfig",
    "UsageError",
    "VerifyReport",
    "VideoError",
    "VideoInfo",
    "View",
    "ViewSpec",
    "decode_frames",
    "explain",
    "export",
    "extract",
    "federate",
    "probe",
    "report",
    "select_keyframes",
    "simulate",
    "status",
    "train",
    "umap",
    "verify",
]

_HOMES = {
    "CLIENT_HEAD_TRAINING": "kinestore.pipeline.training.federated.federate",
    "CLIENT_NETWORK_TRAINING": "kinestore.pipeline.training.federated.federate",
    "Clip": "kinestore.store",
    "Embedding": "kinestore.store",
    "EvaluationConfig": "kinestore.pipeline.training.config",
    "EvaluationViews": "kinestore.pipeline.training.config",
    "Exported": "kinestore.pipeline.export",
    "ExtractionConfig": "kinestore.pipeline.extraction.config",
    "ExtractionResult": "kinestore.pipeline.extraction.result",
    "Failure": "kinestore.store",
    "Features": "kinestore.store",
    "FederationConfig": "kinestore.pipeline.training.config",
    "FrameClips": "kinestore.pipeline.training.networks.clip_data",
    "Frames": "kinestore.pipeline.decode",
    "FramesSpec": "kinestore.store",
    "HEAD_TRAINING": "kinestore.heads",
    "KinestoreError": "kinestore.store",
    "NETWORK_TRAINING": "kinestore.heads",
    "RunSummary": "kinestore.pipeline.runs.summary",
    "Snapshot": "kinestore.store",
    "Source": "kinestore.store",
    "Store": "kinestore.store",
    "StoreError": "kinestore.store",
    "StoreStatus": "kinestore.store.status",
    "StoredFrames": "kinestore.store",
    "TrainingConfig": "kinestore.heads",
    "UmapConfig": "kinestore.pipeline.projection",
    "UsageError": "kinestore.store",
    "VerifyReport": "kinestore.store.findings",
    "VideoError": "kinestore.pipeline.decode",
    "VideoInfo": "kinestore.store",
    "View": "kinestore.store",
    "ViewSpec": "kinestore.store",
    "decode_frames": "kinestore.pipeline.decode",
    "explain": "kinestore.pipeline.explain",
    "export": "kinestore.pipeline.export",
    "extract": "kinestore.pipeline.extract",
    "federate": "kinestore.pipeline.training.federated.federate",
    "probe": "kinestore.pipeline.decode",
    "report": "kinestore.pipeline.report",
    "select_keyframes": "kinestore.pipeline.keyframes",
    "simulate": "kinestore.federated.simulation",
    "status": "kinestore.store.status",
    "train": "kinestore.pipeline.training.train",
    "umap": "kinestore.pipeline.projection",
    "verify": "kinestore.store.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinestore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
