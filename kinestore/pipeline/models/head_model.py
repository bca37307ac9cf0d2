"""A trained head, and the stored features that it takes.

Shape legend: N clips, T frames, D features, K classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads import predict_logits
from kinestore.heads.support.step_mask import join_mask, takes_joined_mask
from kinestore.heads.support.validation import to_features
from kinestore.pipeline.models.build import build_trained
from kinestore.pipeline.models.clip_logits import ClipLogits, ModelInput
from kinestore.pipeline.models.saved_run import SavedRun, are_names
from kinestore.pipeline.runs.reader import missing_file, unusable
from kinestore.pipeline.training.model_spec import read_head
from kinestore.store import Features, Store, UsageError


class HeadModel:
    """A head of a finished run.

    Args:
        run: The run.

    Attributes:
        inputs: The features that it takes, as `Store.load` reads them.
    """

    def __init__(self, run: SavedRun) -> None:
        self._run = run
        self.inputs, self._widths, self._num_frames = _read_input(run)
        self._head = read_head(run.head)

    def open(self, data: ModelInput) -> ClipLogits:
        """Take clips of a store, loaded features, or rows of numbers: (N, D), or (N, T, D).

        Raises:
            UsageError: If they are not the features that the head was trained on.
        """
        if isinstance(data, Store):
            data = self._load(data)
        if isinstance(data, np.ndarray):
            data = _without_clips(data, self.inputs, self._widths)
        elif isinstance(data, Features):
            self._check_names(data)
        else:
            raise UsageError(
                f"{type(data).__name__}: {self._run.head} takes features, as `Store.load` gives "
                "them, an array of rows, or a store"
            )
        ready = join_mask(to_features(self._standardized(data.features)), data.mask)
        masked = data.mask is not None

        def logits(client: int | None, numbers: NDArray[np.int64]) -> Tensor:
            model = self._build(client)
            return predict_logits(takes_joined_mask(model) if masked else model, ready[numbers])

        return ClipLogits(rows=data, logits=logits)

    def _load(self, store: Store) -> Features:
        known = {view.name for view in store.views()}
        for name in self.inputs:
            view = name.partition(":")[0]
            if view not in known:
                extractor = view.partition("@")[0]
                others = sorted(other for other in known if other.startswith(f"{extractor}@"))
                there = f"has {', '.join(others)}" if others else f"has no view of {extractor}"
                raise UsageError(
                    f"{store.address}: has no view {view}, on which {self._run.path} was trained; "
                    f"it {there}; extract with the settings and weights of the run"
                )
        return store.load(self.inputs)

    def _check_names(self, features: Features) -> None:
        if features.feature_names != self.inputs:
            raise UsageError(
                f"features={','.join(features.feature_names)}: {self._run.path} was trained on "
                f"{','.join(self.inputs)}; load these"
            )

    def _standardized(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        width = len(self._run.standardizer.mean)
        if rows.ndim < 2 or rows.shape[-1] != width:
            raise UsageError(
                f"features: shape {rows.shape}, and {self._run.path} takes rows of width {width}"
            )
        return self._run.standardizer.apply(rows)

    def _build(self, client: int | None) -> nn.Module:
        width = len(self._run.standardizer.mean)
        frames = () if self._num_frames is None else (self._num_frames,)
        row = np.zeros((1, *frames, width), np.float32)
        example = replace(_without_clips(row, self.inputs, self._widths), classes=self._run.classes)
        return build_trained(self._run, lambda: self._head.create(example, seed=0), client=client)


def _read_input(run: SavedRun) -> tuple[list[str], list[int], int | None]:
    """Read the entry of config.json that `FeatureData.describe` writes."""
    entry = run.config.get("input")
    if entry is None:
        raise missing_file(run.path, "entry 'input' in config.json")
    if not isinstance(entry, Mapping):
        raise unusable(run.path, f"config.json: input={entry!r}")
    names, widths, num_frames = (entry.get(key) for key in ("features", "widths", "num_frames"))
    if not are_names(names):
        raise unusable(run.path, "config.json: input names no features")
    valid = isinstance(widths, list) and all(type(width) is int and width > 0 for width in widths)
    if not isinstance(widths, list) or not valid:
        raise unusable(run.path, f"config.json: widths={widths!r} are no numbers of features")
    if num_frames is not None and (type(num_frames) is not int or not 0 < num_frames < 2**20):
        raise unusable(run.path, f"config.json: num_frames={num_frames!r} is no number of frames")
    return names, widths, num_frames


def _without_clips(rows: NDArray[Any], names: list[str], widths: list[int]) -> Features:
    """Return rows of numbers as features of clips that nothing else is known of."""
    views, pools = zip(*(name.partition(":")[::2] for name in names), strict=True)
    nothing: list[None] = [None] * len(rows)
    return Features(
        features=rows,
        labels=np.full(len(rows), -1),
        clip_ids=[str(number) for number in range(len(rows))],
        groups=list(nothing),
        splits=list(nothing),
        uris=[""] * len(rows),
        classes=[],
        views=list(views),
        missing=[],
        widths=list(widths),
        pools=list(pools),
    )
