"""Whether the tensors of a file are those of a network, and what is wrong where they are not."""

from collections.abc import Collection, Mapping

from torch import Tensor

COUNTER = "num_batches_tracked"
"""A tensor that files of early versions of torch do not have, and that nothing here reads."""


def without_prefix(state: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Remove the prefix that names of a file have before those of a network, such as "backbone.".

    Args:
        state: The tensors of the file.
        wanted: Names that must all be there, under one prefix alone; else nothing is removed.
    """
    anchor = min((name for name in wanted if not name.endswith(COUNTER)), default="")
    prefixes = {name.removesuffix(anchor) for name in state if anchor and name.endswith(anchor)}
    whole = [each for each in prefixes if all(each + name in state for name in wanted)]
    prefix = whole[0] if len(whole) == 1 else ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def find_misfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Return why tensors of a file cannot take the place of a network's, or None if they can.

    Args:
        state: The tensors of the file.
        own: Those of the network.
    """
    missing = {name for name in own.keys() - state.keys() if not name.endswith(COUNTER)}
    shared = own.keys() & state.keys()
    for what, names in {
        "lacks": missing,
        "has an unknown": state.keys() - own.keys(),
        "has another shape of": {name for name in shared if own[name].shape != state[name].shape},
        "has another type of": {name for name in shared if _kind(own[name]) != _kind(state[name])},
    }.items():
        if names:
            name = min(names)
            sides = {"the file": state.get(name), "the network": own.get(name)}
            shapes = [
                f"{_described(tensor, what)} in {side}"
                for side, tensor in sides.items()
                if tensor is not None
            ]
            more = f"; and {len(names) - 1} more" if len(names) > 1 else ""
            return f"the file {what} {name!r} ({', '.join(shapes)}{more})"
    return None


def _kind(tensor: Tensor) -> bool:
    """Return whether a tensor has floating-point numbers, of any precision."""
    return tensor.is_floating_point()


def _described(tensor: Tensor, what: str) -> str:
    return str(tensor.dtype if "type" in what else tuple(tensor.shape))
