"""The temporal module: features of each segment, weighted by their change over time.

Source: Video Action Recognition Method Based on Personalized Federated Learning and Spatiotemporal
Features, 2025, section 3.1.2, Eqs. 4 to 7. docs/nets.md explains how each equation was
interpreted.

Shape legend: S = B * N segments, B clips of N segments each in order of time; C channels, c reduced
channels, H height, W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from kinestore.heads._sequence_head import check_sizes
from kinestore.store import UsageError

SHARED = {"none": (2, 2), "expand": (2, 1), "paths": (1, 2), "both": (1, 1)}
"""Numbers of path modules and of expanding convolutions that the two directions have."""


@dataclass(frozen=True, kw_only=True)
class TimeSettings:
    """Settings of all temporal modules of a network; `differential.build` describes them."""

    num_segments: int
    tm_reduction: int
    tm_conv: str
    tm_share_dirs: str
    diff_conv: str
    boundary: str
    center_gate: bool

    def __post_init__(self) -> None:
        check_sizes({"num_segments": self.num_segments, "tm_reduction": self.tm_reduction})
        allowed = {
            "tm_conv": ("full", "depthwise"),
            "tm_share_dirs": tuple(SHARED),
            "diff_conv": ("both", "one"),
            "boundary": ("zero_feature", "zero_diff"),
        }
        for name, choices in allowed.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"{name}={value!r}: must be one of {', '.join(choices)}")


class TimeModule(nn.Module):
    """F' = F + F * 1/2 (H'_{n,n-s} + H'_{n+s,n}).

    Attributes:
        stride: s, in segments.
        settings: Settings that the network's temporal modules share.
    """

    def __init__(self, channels: int, *, stride: int, settings: TimeSettings) -> None:
        super().__init__()
        if channels % settings.tm_reduction:
            raise UsageError(
                f"tm_reduction={settings.tm_reduction}: must divide {channels}, the channels of a "
                "stage; take a power of two"
            )
        self.stride, self.settings = stride, settings
        reduced = channels // settings.tm_reduction
        num_paths, num_expands = SHARED[settings.tm_share_dirs]
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, reduced, 1, bias=False), nn.BatchNorm2d(reduced)
        )
        groups = reduced if settings.tm_conv == "depthwise" else 1
        self.smooth = nn.Conv2d(reduced, reduced, 3, padding=1, groups=groups, bias=False)
        self.paths = nn.ModuleList(ThreePaths(reduced) for _ in range(num_paths))
        self.expands = nn.ModuleList(
            nn.Sequential(nn.Conv2d(reduced, channels, 1, bias=False), nn.BatchNorm2d(channels))
            for _ in range(num_expands)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (S, C, H, W) to the same shape; H and W 2 or more."""
        backward, forward = differences(self.reduce(features), self.smooth, stride=self.stride,
                                        settings=self.settings)  # fmt: skip
        gates = self._gate(backward, 0) + self._gate(forward, -1)
        if self.settings.center_gate:
            gates = gates - 1
        return torch.addcmul(features, features, gates, value=0.5)

    def _gate(self, difference: Tensor, direction: int) -> Tensor:
        """Return H' (Eq. 6), from 0 to 1, shape (S, C, H, W)."""
        merged: Tensor = self.expands[direction](self.paths[direction](difference))
        return merged.sigmoid_()


class ThreePaths(nn.Module):
    """H = D + Conv(D) + Up(Conv(Avg(D))) (Eq. 5), a batch norm after each convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fine = self._path(channels)
        self.coarse = self._path(channels)

    def forward(self, difference: Tensor) -> Tensor:
        """Map (S, c, H, W) to the same shape."""
        coarse = self.coarse(avg_pool2d(difference, 2))
        whole: Tensor = self.fine(difference)
        up = interpolate(coarse, size=difference.shape[-2:])  # nearest
        return whole.add_(difference).add_(up)

    def _path(self, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )


def differences(
    reduced: Tensor, smooth: nn.Module, *, stride: int, settings: TimeSettings
) -> tuple[Tensor, Tensor]:
    """Return D_{n,n-s} and D_{n+s,n} (Eq. 4); segments outside the clip have zero features.

    Args:
        reduced: F, shape (S, c, H, W).
        smooth: Conv.
        stride: s, 1 or more and below N.
        settings: With diff_conv "one", Conv is not applied to the earlier segment; with boundary
            "zero_diff", differences to segments outside the clip are zero.

    Returns:
        Two tensors (S, c, H, W), with the memory layout of Conv(F).
    """
    smoothed: Tensor = smooth(reduced)
    earlier = smoothed if settings.diff_conv == "both" else reduced
    backward, forward = smoothed.clone(), -earlier
    by_clip = (-1, settings.num_segments, *smoothed.shape[1:])
    later_BN, earlier_BN, backward_BN, forward_BN = (
        x.view(by_clip) for x in (smoothed, earlier, backward, forward)
    )
    backward_BN[:, stride:] -= earlier_BN[:, :-stride]
    forward_BN[:, :-stride] += later_BN[:, stride:]
    if settings.boundary == "zero_diff":
        backward_BN[:, :stride] = 0
        forward_BN[:, -stride:] = 0
    return backward, forward
