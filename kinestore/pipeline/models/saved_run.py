"""The saved model of a finished run: untrusted files, read with checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from torch import Tensor

from kinestore.heads import Standardizer
from kinestore.pipeline.runs.reader import read_config, read_object, unusable
from kinestore.store import UsageError
from kinestore.store.io.addresses import local_path
from kinestore.store.io.tensors import first_not_finite_tensor, read_tensors

MODEL_FILE = "model.safetensors"

_HEAD, _CLIENT = "head.", "client."


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedRun:
    """A finished run's settings and tensors.

    Attributes:
        path: The run folder.
        config: config.json.
        head: The model, as `model_spec` reads it.
        classes: K names, in the order of the model's outputs.
        common: State dict of the model; of a federated run the global one.
        private: Private tensors of each client that has some.
        standardizer: How the model's input is scaled.
    """

    path: Path
    config: Mapping[str, object]
    head: str
    classes: list[str]
    common: dict[str, Tensor]
    private: Mapping[int, dict[str, Tensor]]
    standardizer: Standardizer

    @property
    def several(self) -> bool:
        """True where clips had several labels, and each class was learned as yes or no."""
        return self.config.get("several_labels") is True

    def state_of(self, client: int | None) -> dict[str, Tensor]:
        """Return the state dict of a client's own model, or the common one.

        Raises:
            UsageError: If the run has no such client.
        """
        if client is None:
            return self.common
        num_clients = self.config.get("clients")
        if not isinstance(num_clients, int):
            raise UsageError(f"client={client}: {self.path} is no federated run, and has no client")
        if not 0 <= client < num_clients:
            raise UsageError(f"client={client}: {self.path} has clients 0 to {num_clients - 1}")
        return self.common | self.private.get(client, {})


def read_saved_run(run: str | Path) -> SavedRun:
    """Read a finished run; no pickle is loaded.

    Raises:
        UsageError: If it is no finished run, or a file cannot be used.
    """
    path, config = local_path(run), read_config(run)
    head, classes = config.get("head"), read_object(run, "summary.json").get("classes")
    if not isinstance(head, str):
        raise unusable(run, "config.json: names no head, or no features")
    if not are_names(classes) or len(set(classes)) < len(classes):
        raise unusable(run, "summary.json: names no classes, or one twice")
    tensors = read_tensors(path / MODEL_FILE)
    if (name := first_not_finite_tensor(tensors)) is not None:
        raise unusable(run, f"{MODEL_FILE}: {name[:80]!r} holds NaN or infinity")
    scaling = [tensors.get(f"standardise.{name}") for name in ("mean", "std")]
    mean, std = (_numbers(run, values) for values in scaling)
    if len(mean) != len(std):
        raise unusable(run, f"{MODEL_FILE}: has {len(mean)} means and {len(std)} deviations")
    return SavedRun(
        path=path,
        config=config,
        head=head,
        classes=classes,
        common=_within(tensors, _HEAD),
        private=_by_client(run, tensors),
        standardizer=Standardizer(mean=mean, std=std),
    )


def are_names(value: object) -> TypeGuard[list[str]]:
    """Return whether a value of JSON is a list of texts with one or more entries."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _numbers(run: str | Path, values: Tensor | None) -> Any:
    """Check a mean or deviation: float64, shape (D,)."""
    if values is None or values.ndim != 1 or not values.is_floating_point():
        raise unusable(run, f"{MODEL_FILE}: has no valid scaling of the input")
    return values.double().numpy()


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _by_client(run: str | Path, tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    private: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _within(tensors, _CLIENT).items():
        number, _, rest = name.partition(".")
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise unusable(run, f"{MODEL_FILE}: {_CLIENT}{number!r} is no client")
        private.setdefault(int(number), {})[rest] = tensor
    return private
