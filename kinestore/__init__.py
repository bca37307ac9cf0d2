"""Kinestore: a feature store for video action recognition.

The public Python names: `import kinestore as ks`. A name imports what it needs when it is
first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinestore.federated.simulation import simulate
    from kinestore.pipeline.decode import decode_frames, probe
    from kinestore.pipeline.explain import explain
    from kinestore.pipeline.extract import extract
    from kinestore.pipeline.federate import federate
    from kinestore.pipeline.keyframes import select_keyframes
    from kinestore.pipeline.nets.federate import federate_net
    from kinestore.pipeline.nets.train import train_net
    from kinestore.pipeline.report import report
    from kinestore.pipeline.train import train
    from kinestore.pipeline.umap import umap
    from kinestore.store import Store

__all__ = [
    "Store",
    "decode_frames",
    "explain",
    "extract",
    "federate",
    "federate_net",
    "probe",
    "report",
    "select_keyframes",
    "simulate",
    "train",
    "train_net",
    "umap",
]

_HOMES = {
    "Store": "kinestore.store",
    "decode_frames": "kinestore.pipeline.decode",
    "explain": "kinestore.pipeline.explain",
    "extract": "kinestore.pipeline.extract",
    "federate": "kinestore.pipeline.federate",
    "probe": "kinestore.pipeline.decode",
    "report": "kinestore.pipeline.report",
    "select_keyframes": "kinestore.pipeline.keyframes",
    "simulate": "kinestore.federated.simulation",
    "train": "kinestore.pipeline.train",
    "federate_net": "kinestore.pipeline.nets.federate",
    "train_net": "kinestore.pipeline.nets.train",
    "umap": "kinestore.pipeline.umap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kinestore' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
