"""Grad-CAM: where in a clip the evidence for a class lies.

Source: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, 2017,
section 3, Eqs. 1 and 2: alpha_k is the mean over places of the gradient of the class's score with
respect to map k, and the map of evidence is ReLU(sum_k alpha_k A_k).

Done differently:
    A clip has a map for each frame, and all are divided by the highest value of the clip, so that
    frames can be compared. Of a network that pools the time too, the mean is over places and times.

Shape legend: B clips, T times, C channels, h and w places down and across, K classes.
"""

import torch
from torch import Tensor, nn


def grad_cam(net: nn.Module, clip: Tensor, layer: nn.Module, target: int) -> Tensor:
    """Return the evidence for a class, as large as the layer's maps.

    Args:
        net: Network from a batch of clips to logits (B, K), used in its present mode.
        clip: A batch of one.
        layer: Gives maps (T, C, h, w), or (1, C, T, h, w), when the network is called once.
        target: The class, from 0 to K - 1.

    Returns:
        From 0 to 1, float32, shape (T, h, w); the highest is 1, unless there is no evidence for
        the class: then all are 0.

    Raises:
        ValueError: If it is not one clip, or the layer gives something else.
    """
    evidence = signed_evidence(net, clip, layer, target).relu()
    highest = evidence.max()
    return evidence / highest if highest > 0 else evidence


def signed_evidence(net: nn.Module, clip: Tensor, layer: nn.Module, target: int) -> Tensor:
    """Return the sum over k of alpha_k A_k: float32, shape (T, h, w); arguments as for `grad_cam`.

    Where the logits are the mean over places and times of the maps, times a matrix, the sum of it
    all is the class's logit, less its bias.
    """
    if len(clip) != 1:
        raise ValueError(f"clip: a batch of {len(clip)}, must be one clip")
    maps, gradients = _maps_and_gradients(net, clip, layer, target)
    if maps.ndim == 4:  # (T, C, h, w): a frame's channels have weights of their own
        return (gradients.mean((2, 3), keepdim=True) * maps).sum(1)
    if maps.ndim == 5 and len(maps) == 1:
        return (gradients.mean((2, 3, 4), keepdim=True) * maps).sum(1)[0]
    raise ValueError(f"layer: gives {tuple(maps.shape)}, must give (T, C, h, w) or (1, C, T, h, w)")


def _maps_and_gradients(
    net: nn.Module, clip: Tensor, layer: nn.Module, target: int
) -> tuple[Tensor, Tensor]:
    """Return the layer's output, and the gradient of the class's logit with respect to it."""
    found: list[Tensor] = []

    def detach(module: nn.Module, given: object, maps: Tensor) -> Tensor:
        found.append(maps.detach().requires_grad_())
        return found[-1].clone()  # what comes next may write into it

    with layer.register_forward_hook(detach), torch.enable_grad():
        logits: Tensor = net(clip)
    if len(found) != 1:
        raise ValueError(f"layer: was called {len(found)} times, must be called once")
    (gradients,) = torch.autograd.grad(logits[0, target], found)
    return found[0].detach().float(), gradients.float()
