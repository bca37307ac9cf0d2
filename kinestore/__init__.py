"""Kinestore: a feature store for video action recognition.

The public Python names: `import kinestore as ks`. A name imports what it needs when it is
first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinestore.extractors import FrameChoice
    from kinestore.federated import Algorithm
    from kinestore.federated.round_record import RoundRecord
    from kinestore.federated.simulation import (
        CheckpointConfig,
        History,
        SimulationOptions,
        simulate,
    )
    from kinestore.heads import HEAD_TRAINING, NETWORK_TRAINING, TrainingConfig
    from kinestore.pipeline.decode import Frames, VideoError, decode_frames, probe
    from kinestore.pipeline.describe import ModelCost, describe
    from kinestore.pipeline.explain import explain
    from kinestore.pipeline.explain.explain_video import Explanation, VideoPeak
    from kinestore.pipeline.export import Exported, export
    from kinestore.pipeline.extract import extract
    from kinestore.pipeline.extraction.config import ExtractionConfig
    from kinestore.pipeline.extraction.result import ExtractionResult
    from kinestore.pipeline.keyframes import select_keyframes
    from kinestore.pipeline.models import (
        Evaluation,
        PredictedClips,
        TrainedModel,
        evaluate,
        load_model,
        predict,
    )
    from kinestore.pipeline.projection import UmapConfig, umap
    from kinestore.pipeline.projection.result import UmapPanel, UmapResult
    from kinestore.pipeline.recipes.papers import RECIPES, Recipe
    from kinestore.pipeline.report import Comparison, compare, report
    from kinestore.pipeline.report.write_report import ReportResult
    from kinestore.pipeline.runs.summary import FederatedFigures, RunSummary
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
    from kinestore.pipeline.training.federated.partition_store import DividedClips, partition
    from kinestore.pipeline.training.networks.clip_data import FrameClips
    from kinestore.pipeline.training.repeats import RepeatedRuns, Spread, repeat
    from kinestore.pipeline.training.swarm.config import SWARM_TRAINING, SwarmConfig
    from kinestore.pipeline.training.swarm.lr_scan import RateScan, lr_scan
    from kinestore.pipeline.training.swarm.swarm import swarm
    from kinestore.pipeline.training.train import train
    from kinestore.pipeline.verification.findings import Finding, VerifyReport
    from kinestore.pipeline.verification.verify import verify
    from kinestore.progress import Progress
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
    from kinestore.store.status import StoreStatus, status

__all__ = [
    "CLIENT_HEAD_TRAINING",
    "CLIENT_NETWORK_TRAINING",
    "HEAD_TRAINING",
    "NETWORK_TRAINING",
    "RECIPES",
    "SWARM_TRAINING",
    "Algorithm",
    "CheckpointConfig",
    "Clip",
    "Comparison",
    "DividedClips",
    "Embedding",
    "Evaluation",
    "EvaluationConfig",
    "EvaluationViews",
    "Explanation",
    "Exported",
    "ExtractionConfig",
    "ExtractionResult",
    "Failure",
    "Features",
    "FederatedFigures",
    "FederationConfig",
    "Finding",
    "FrameChoice",
    "FrameClips",
    "Frames",
    "FramesSpec",
    "History",
    "KinestoreError",
    "ModelCost",
    "PredictedClips",
    "Progress",
    "RateScan",
    "Recipe",
    "RepeatedRuns",
    "ReportResult",
    "RoundRecord",
    "RunSummary",
    "SimulationOptions",
    "Snapshot",
    "Source",
    "Spread",
    "Store",
    "StoreError",
    "StoreStatus",
    "StoredFrames",
    "SwarmConfig",
    "TrainedModel",
    "TrainingConfig",
    "UmapConfig",
    "UmapPanel",
    "UmapResult",
    "UsageError",
    "VerifyReport",
    "VideoError",
    "VideoInfo",
    "VideoPeak",
    "View",
    "ViewSpec",
    "compare",
    "decode_frames",
    "describe",
    "evaluate",
    "explain",
    "export",
    "extract",
    "federate",
    "load_model",
    "lr_scan",
    "partition",
    "predict",
    "probe",
    "repeat",
    "report",
    "select_keyframes",
    "simulate",
    "status",
    "swarm",
    "train",
    "umap",
    "verify",
]

_HOMES = {
    "Algorithm": "kinestore.federated",
    "CLIENT_HEAD_TRAINING": "kinestore.pipeline.training.federated.federate",
    "CLIENT_NETWORK_TRAINING": "kinestore.pipeline.training.federated.federate",
    "CheckpointConfig": "kinestore.federated.simulation",
    "Clip": "kinestore.store",
    "Comparison": "kinestore.pipeline.report",
    "DividedClips": "kinestore.pipeline.training.federated.partition_store",
    "Embedding": "kinestore.store",
    "Evaluation": "kinestore.pipeline.models",
    "EvaluationConfig": "kinestore.pipeline.training.config",
    "EvaluationViews": "kinestore.pipeline.training.config",
    "Explanation": "kinestore.pipeline.explain.explain_video",
    "Exported": "kinestore.pipeline.export",
    "ExtractionConfig": "kinestore.pipeline.extraction.config",
    "ExtractionResult": "kinestore.pipeline.extraction.result",
    "Failure": "kinestore.store",
    "Features": "kinestore.store",
    "FederatedFigures": "kinestore.pipeline.runs.summary",
    "FederationConfig": "kinestore.pipeline.training.config",
    "Finding": "kinestore.pipeline.verification.findings",
    "FrameChoice": "kinestore.extractors",
    "FrameClips": "kinestore.pipeline.training.networks.clip_data",
    "Frames": "kinestore.pipeline.decode",
    "FramesSpec": "kinestore.store",
    "HEAD_TRAINING": "kinestore.heads",
    "History": "kinestore.federated.simulation",
    "KinestoreError": "kinestore.store",
    "ModelCost": "kinestore.pipeline.describe",
    "NETWORK_TRAINING": "kinestore.heads",
    "Progress": "kinestore.progress",
    "RECIPES": "kinestore.pipeline.recipes.papers",
    "Recipe": "kinestore.pipeline.recipes.papers",
    "RepeatedRuns": "kinestore.pipeline.training.repeats",
    "ReportResult": "kinestore.pipeline.report.write_report",
    "RoundRecord": "kinestore.federated.round_record",
    "PredictedClips": "kinestore.pipeline.models",
    "RunSummary": "kinestore.pipeline.runs.summary",
    "SimulationOptions": "kinestore.federated.simulation",
    "SWARM_TRAINING": "kinestore.pipeline.training.swarm.config",
    "Snapshot": "kinestore.store",
    "Source": "kinestore.store",
    "Spread": "kinestore.pipeline.training.repeats",
    "Store": "kinestore.store",
    "StoreError": "kinestore.store",
    "StoreStatus": "kinestore.store.status",
    "StoredFrames": "kinestore.store",
    "SwarmConfig": "kinestore.pipeline.training.swarm.config",
    "TrainedModel": "kinestore.pipeline.models",
    "TrainingConfig": "kinestore.heads",
    "UmapConfig": "kinestore.pipeline.projection",
    "UmapPanel": "kinestore.pipeline.projection.result",
    "UmapResult": "kinestore.pipeline.projection.result",
    "UsageError": "kinestore.store",
    "VerifyReport": "kinestore.pipeline.verification.findings",
    "VideoError": "kinestore.pipeline.decode",
    "VideoInfo": "kinestore.store",
    "VideoPeak": "kinestore.pipeline.explain.explain_video",
    "View": "kinestore.store",
    "ViewSpec": "kinestore.store",
    "compare": "kinestore.pipeline.report",
    "decode_frames": "kinestore.pipeline.decode",
    "describe": "kinestore.pipeline.describe",
    "evaluate": "kinestore.pipeline.models",
    "explain": "kinestore.pipeline.explain",
    "export": "kinestore.pipeline.export",
    "extract": "kinestore.pipeline.extract",
    "federate": "kinestore.pipeline.training.federated.federate",
    "load_model": "kinestore.pipeline.models",
    "lr_scan": "kinestore.pipeline.training.swarm.lr_scan",
    "RateScan": "kinestore.pipeline.training.swarm.lr_scan",
    "partition": "kinestore.pipeline.training.federated.partition_store",
    "predict": "kinestore.pipeline.models",
    "probe": "kinestore.pipeline.decode",
    "repeat": "kinestore.pipeline.training.repeats",
    "report": "kinestore.pipeline.report",
    "select_keyframes": "kinestore.pipeline.keyframes",
    "simulate": "kinestore.federated.simulation",
    "status": "kinestore.store.status",
    "swarm": "kinestore.pipeline.training.swarm.swarm",
    "train": "kinestore.pipeline.training.train",
    "umap": "kinestore.pipeline.projection",
    "verify": "kinestore.pipeline.verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinestore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
