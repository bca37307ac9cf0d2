"""The cost of a model that was trained, for the summary of its run."""

from torch import Tensor, nn

from kinestore.pipeline.costs.operations import Operations, count_operations, count_parameters
from kinestore.pipeline.runs.summary import RunCost


def cost_of_model(model: nn.Module, example: Tensor, *, sent: int | None = None) -> RunCost:
    """Count the parameters of a trained model and the multiply-adds of one clip.

    Args:
        model: The model; it is not changed.
        example: Input of one clip; only its shape counts.
        sent: Parameters that a client sends; None in a central run.
    """
    counted: Operations | None
    try:
        counted = count_operations(model, example, run=_without_hooks)
    except RuntimeError:  # PyTorch cannot pass shapes alone through every layer
        counted = None
    parameters, trainable = count_parameters(model)
    return RunCost(
        parameters=parameters,
        trainable_parameters=trainable,
        sent_parameters=sent,
        macs=counted.macs if counted else None,
        attention_macs=counted.attention_macs if counted else None,
        input=list(example.shape),
    )


def _without_hooks(model: nn.Module, example: Tensor) -> object:
    """Call a head on whole sequences, without the hook that divides frames from their mask."""
    return model.forward(example)
