"""The cost of an extractor, a head or a network by its name: the cost columns of papers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinestore import extractors, heads
from kinestore.extractors.architectures import architecture_of
from kinestore.pipeline.costs.measurement import measure_clip
from kinestore.pipeline.costs.operations import count_operations, count_parameters
from kinestore.pipeline.training.model_spec import read_choice, read_head
from kinestore.pipeline.training.networks.build_network import FROM_THE_JOB, takes_segments
from kinestore.store import UsageError

_MOST_MEASURED = 1_000_000_000
"""Parameters of the largest model that is measured: 4 GB."""

SINGLE_OUTPUT = 1
"""Classes with which FLAMeST counts the parameters of its perceptron."""


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """The cost of a model.

    Attributes:
        name: As it was given.
        kind: "extractor", "head", "network" or "run".
        parameters: All parameters; an extractor's are those of the published network.
        trainable_parameters: Those that are trained.
        sent_parameters: Those that a client sends in each round; None where nothing is federated.
        single_output_parameters: Parameters with one output instead of one for each class, as
            FLAMeST counts its head; None for an extractor or a run.
        macs: Multiply-adds of a clip in convolutions, linear and recurrent layers and
            correlations; None where they cannot be counted.
        attention_macs: Multiply-adds of attention, which are not in `macs`.
        input: Shape of the input of a clip.
        stored_bytes: Bytes of a clip's embedding in a store; None where nothing is stored.
        ms: Measured milliseconds of a clip; None where not measured.
        peak_bytes: Measured peak memory above that before; None where not measured.
        device: Where it was measured.
        note: What the figures leave out; "" for nothing.
    """

    name: str
    kind: str
    parameters: int
    trainable_parameters: int
    sent_parameters: int | None = None
    single_output_parameters: int | None = None
    macs: int | None = None
    attention_macs: int | None = None
    input: tuple[int, ...] = ()
    stored_bytes: int | None = None
    ms: float | None = None
    peak_bytes: int | None = None
    device: str | None = None
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Return what `kinestore describe --json` prints."""
        return asdict(self)


def cost_of_extractor(name: str, *, measure: bool) -> ModelCost:
    """Return the cost of an extractor; no weights are needed.

    Raises:
        UsageError: If there is none of this name.
    """
    found = architecture_of(name)
    if found is None:
        return ModelCost(
            name=name,
            kind="extractor",
            parameters=0,
            trainable_parameters=0,
            stored_bytes=4 * math.prod(extractors.create(name).spec.shape),
            note="has no network; its histograms are not counted as multiply-adds",
        )
    counted = count_operations(found.network, found.pixels, run=found.run)
    ms, peak, device = measure_clip(found.network, found.pixels, run=found.run, wanted=measure)
    return ModelCost(
        name=name,
        kind="extractor",
        parameters=count_parameters(found.network)[0],
        trainable_parameters=0,
        macs=counted.macs,
        attention_macs=counted.attention_macs,
        input=tuple(found.pixels.shape),
        stored_bytes=4 * math.prod(found.embedding),
        ms=ms,
        peak_bytes=peak,
        device=device,
        note=found.note,
    )


def cost_of_head(
    text: str,
    *,
    num_classes: int,
    widths: Sequence[int],
    num_frames: int | None,
    size: int | None,
    measure: bool,
) -> ModelCost:
    """Return the cost of a head or a network with its settings, such as "mlp:hidden=512-256".

    Args:
        text: As `model_spec` reads it.
        num_classes: Number of classes, 1 or more.
        widths: Features of each view that a head takes; a network on frames takes none.
        num_frames: Frames, or segments, of a clip; None for those of the paper.
        size: Side of a network's frames in pixels; None for that of the paper.
        measure: Whether to measure time and memory too.

    Raises:
        UsageError: If a setting does not fit.
    """
    name = text.partition(":")[0]
    of_frames = heads.takes_frames(name)
    if of_frames and widths:
        raise UsageError(f"widths={tuple(widths)}: {name} takes frames; leave them out")
    if not of_frames and not widths:
        raise UsageError(
            f"widths: {name} takes features; give the number of each view's, as --widths 2048,768"
        )
    if not of_frames and size is not None:
        raise UsageError(f"size={size}: {name} takes features; leave it out")
    inputs = _frames_of(text, num_frames, size) if of_frames else _rows_of(name, widths, num_frames)
    with torch.device("meta"):
        model, single = (
            _build(text, classes, widths=widths, inputs=inputs)
            for classes in (num_classes, SINGLE_OUTPUT)
        )
    parameters, trainable = count_parameters(model)
    if measure and parameters > _MOST_MEASURED:
        raise UsageError(f"{text}: more than {_MOST_MEASURED:,} parameters; leave out measure")
    try:
        counted = count_operations(model, inputs)
    except (RuntimeError, AssertionError) as error:  # of torchvision
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{name}: does not take clips of shape {tuple(inputs.shape)} ({reason}); choose "
            "another size or number of frames"
        ) from error
    ms, peak, device = measure_clip(model, inputs, run=None, wanted=measure)
    return ModelCost(
        name=text,
        kind="network" if of_frames else "head",
        parameters=parameters,
        trainable_parameters=trainable,
        sent_parameters=parameters,
        single_output_parameters=count_parameters(single)[0],
        macs=counted.macs,
        attention_macs=counted.attention_macs,
        input=tuple(inputs.shape),
        ms=ms,
        peak_bytes=peak,
        device=device,
        note="sent: with a strategy that shares all; personal sends less",
    )


def _build(text: str, num_classes: int, *, widths: Sequence[int], inputs: Tensor) -> nn.Module:
    name = text.partition(":")[0]
    if not heads.takes_frames(name):
        choice = read_head(text)
        known: Mapping[str, Any] = {
            "in_features": sum(widths),
            "num_classes": num_classes,
            "widths": tuple(widths),
            "num_frames": inputs.shape[1],
        }
        settings = dict(choice.settings)
    else:
        name, settings = read_choice(text, heads.settings_of, hidden=FROM_THE_JOB)
        known = {
            "num_classes": num_classes,
            "num_segments": inputs.shape[1],
            "num_frames": inputs.shape[1],
            "size": inputs.shape[-1],
        }
    declared = heads.settings_of(name)
    known = {key: value for key, value in known.items() if key in declared}
    return heads.create(name, **known, **settings)


def _rows_of(name: str, widths: Sequence[int], num_frames: int | None) -> Tensor:
    """Return one row of features: (1, D), or (1, T, D) for a head on sequences."""
    if min(widths) < 1 or (num_frames is not None and num_frames < 1):
        raise UsageError(f"widths={tuple(widths)}, frames={num_frames}: must be 1 or more")
    frames = () if num_frames is None else (num_frames,)
    if name.startswith("temporal") and num_frames is None:
        raise UsageError(f"frames: {name} takes sequences; give their length, as --frames 10")
    return torch.empty(1, *frames, sum(widths), device="meta")


def _frames_of(text: str, num_frames: int | None, size: int | None) -> Tensor:
    """Return the clip that a network takes, by default as large as its paper has it."""
    is_c3d = text.partition(":")[0] == "c3d"
    if min(1 if one is None else one for one in (num_frames, size)) < 1:
        raise UsageError(f"num_frames={num_frames}, size={size}: must be 1 or more")
    frames = num_frames or (16 if is_c3d else 8)
    side = size or (112 if is_c3d else 224)
    segment = (5,) if takes_segments(text) else ()
    return torch.empty(1, frames, *segment, 3, side, side, device="meta")
