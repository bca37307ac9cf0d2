"""Weights to start from: of a file, or of a finished run, for heads and for networks on frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from kinestore.heads.support.state_dict import find_misfit, without_prefix
from kinestore.heads.training.optimizer import classifier_of
from kinestore.pipeline.runs.reader import is_run, read_config, read_object
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.tensors import first_not_finite_tensor, read_tensor_file

_MODEL = "model.safetensors"
_HEAD, _NOT_OF_THE_MODEL = "head.", ("standardise.", "client.")


@dataclass(frozen=True, kw_only=True, eq=False)
class StartWeights:
    """The tensors to start from.

    Attributes:
        path: The file or run, as it was named.
        state: Tensors by name, on the CPU.
        note: What the file holds besides, or "".
        classes: The classes of a run, in the order of its outputs; None for other files.
        features: Stored features that a run was trained on; None for other files.
    """

    path: Path
    state: dict[str, Tensor]
    note: str = ""
    classes: list[str] | None = None
    features: list[str] | None = None

    def load_into(self, model: nn.Module, *, classes: Sequence[str]) -> str:
        """Load all tensors, or all but the classifier's where it is of other classes.

        Args:
            model: Its classifier starts as it is where the file's does not fit.
            classes: Of the model's outputs.

        Returns:
            A sentence on what was taken.

        Raises:
            UsageError: If another tensor is missing, unknown or of another shape.
        """
        own, (name, layer) = model.state_dict(), classifier_of(model)
        top = {f"{name}.{part}" for part in layer.state_dict()}
        trunk = {key: tensor for key, tensor in own.items() if key not in top}
        state = without_prefix(self.state, trunk.keys())
        others = {key: tensor for key, tensor in state.items() if key not in top}
        theirs = {key: tensor for key, tensor in state.items() if key in top}
        reason = self._why_random(theirs, layer, classes=classes)
        fault = find_misfit(others, trunk) if reason else find_misfit(state, own)
        if fault is not None:
            raise UsageError(
                f"weights {self.path}: do not fit the network: {fault}; give weights of the same "
                "network with the same settings and input"
            )
        model.load_state_dict(others if reason else state, strict=False)
        taken = (
            f"all but the classifier {name}, which starts from random weights: {reason}"
            if reason
            else "all"
        )
        return f"{self.path}: {taken}{self.note}"

    def _why_random(
        self, theirs: dict[str, Tensor], layer: nn.Linear, *, classes: Sequence[str]
    ) -> str:
        """Return why the classifier is not taken, or ""."""
        if not theirs:
            return "the file has none"
        counts = {len(tensor) for tensor in theirs.values() if tensor.ndim}
        widths = {tensor.shape[1] for tensor in theirs.values() if tensor.ndim == 2}
        if counts != {layer.out_features} and len(counts) == 1 and widths <= {layer.in_features}:
            return f"it has {counts.pop()} classes, and these are {layer.out_features}"
        if self.classes is not None and self.classes != list(classes):
            return f"it is of other classes, such as {_first_other(self.classes, classes)!r}"
        return ""


def read_start(weights: str | Path) -> StartWeights:
    """Read a file of tensors, or the common model of a finished run; no pickle is loaded.

    Raises:
        UsageError: If it is absent, is no file of tensors and no finished run, or holds NaN.
    """
    path = local_path(weights)
    run = path if path.is_dir() else path.parent
    of_a_run = is_run(run) and path in (run, run / _MODEL)
    if path.is_dir() and not of_a_run:
        raise UsageError(
            f"weights {path}: is a folder and no finished run; name a file of weights in it"
        )
    file = read_tensor_file(run / _MODEL if of_a_run else path)
    if (name := first_not_finite_tensor(file.tensors)) is not None:
        raise UsageError(f"weights {path}: {name[:80]!r} holds NaN or infinity; give others")
    state = {
        name.removeprefix(_HEAD): tensor
        for name, tensor in file.tensors.items()
        if not name.startswith(_NOT_OF_THE_MODEL)
    }
    passed_over = ", ".join(map(repr, file.passed_over))
    note = f"; of several copies in the file {file.taken!r}, not {passed_over}"
    if not of_a_run:
        return StartWeights(path=path, state=state, note=note if passed_over else "")
    config, summary = read_config(run), read_object(run, "summary.json")
    return StartWeights(
        path=path,
        state=state,
        note="; the common model, without the clients' own parts"
        if any(name.startswith("client.") for name in file.tensors)
        else "",
        classes=_names(summary.get("classes")),
        features=_names(config.get("features")),
    )


def _names(value: object) -> list[str] | None:
    return [str(one) for one in value] if isinstance(value, list) else None


def _first_other(theirs: Sequence[str], ours: Sequence[str]) -> str:
    return next((name for name in theirs if name not in ours), next(iter(theirs), ""))
