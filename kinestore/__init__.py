"""Kinestore: a feature store for video action recognition.

The public Python names: `import kinestore as ks`. A name imports what it needs when it is
first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinestore.federated.simulation import simulate
    from kinestore.pipeline.explain import explain
    from kinestore.pipeline.extraction.config import ExtractionConfig
    from kinestore.pipeline.extraction.extract_videos import extract
    from kinestore.pipeline.projection import UmapConfig, umap
    from kinestore.pipeline.report import report
    from kinestore.pipeline.training.federated.federate_head import federate
    from kinestore.pipeline.training.federated.federate_network import federate_net
    from kinestore.pipeline.training.networks.train_network import train_net
    from kinestore.pipeline.training.train_head import train
    from kinestore.pipeline.video.decoded_video import decode_frames, probe
    from kinestore.pipeline.video.keyframes import select_keyframes
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
    from kinestore.store.export import Exported, export
    from kinestore.store.findings import VerifyReport
    from kinestore.store.status import StoreStatus, status
    from kinestore.store.verify import verify

__all__ = [
    "Clip",
    "Embedding",
    "Exported",
    "ExtractionConfig",
    "Failure",
    "Features",
    "FramesSpec",
    "KinestoreError",
    "Snapshot",
    "Source",
    "Store",
    "StoreError",
    "StoreStatus",
    "StoredFrames",
    "UmapConfig",
    "UsageError",
    "VerifyReport",
    "VideoInfo",
    "View",
    "ViewSpec",
    "decode_frames",
    "explain",
    "export",
    "extract",
    "federate",
    "federate_net",
    "probe",
    "report",
    "select_keyframes",
    "simulate",
    "status",
    "train",
    "train_net",
    "umap",
    "verify",
]

_HOMES = {
    "Clip": "kinestore.store",
    "Embedding": "kinestore.store",
    "Exported": "kinestore.store.export",
    "Failure": "kinestore.store",
    "Features": "kinestore.store",
    "FramesSpec": "kinestore.store",
    "KinestoreError": "kinestore.store",
    "Snapshot": "kinestore.store",
    "Source": "kinestore.store",
    "StoreError": "kinestore.store",
    "StoreStatus": "kinestore.store.status",
    "StoredFrames": "kinestore.store",
    "UsageError": "kinestore.store",
    "VerifyReport": "kinestore.store.findings",
    "VideoInfo": "kinestore.store",
    "View": "kinestore.store",
    "ViewSpec": "kinestore.store",
    "export": "kinestore.store.export",
    "status": "kinestore.store.status",
    "verify": "kinestore.store.verify",
    "ExtractionConfig": "kinestore.pipeline.extraction.config",
    "Store": "kinestore.store",
    "UmapConfig": "kinestore.pipeline.projection",
    "decode_frames": "kinestore.pipeline.video.decoded_video",
    "explain": "kinestore.pipeline.explain",
    "extract": "kinestore.pipeline.extraction.extract_videos",
    "federate": "kinestore.pipeline.training.federated.federate_head",
    "probe": "kinestore.pipeline.video.decoded_video",
    "report": "kinestore.pipeline.report",
    "select_keyframes": "kinestore.pipeline.video.keyframes",
    "simulate": "kinestore.federated.simulation",
    "train": "kinestore.pipeline.training.train_head",
    "federate_net": "kinestore.pipeline.training.federated.federate_network",
    "train_net": "kinestore.pipeline.training.networks.train_network",
    "umap": "kinestore.pipeline.projection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinestore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
