"""A network on frames: a trunk that gives a vector for each frame, and a head on their sequence.

Shape legend: B clips, T frames, H height, W width, K classes.
"""

from torch import Tensor, nn

from kinestore.heads._feature_layer import FeatureLayer
from kinestore.heads._trunk import FrameTrunk


class TrunkAndHead(nn.Module):
    """Network from frames to logits.

    Attributes:
        trunk: Gives a vector for each frame.
        head: A temporal head on these vectors.
    """

    def __init__(self, trunk: FrameTrunk, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    @property
    def feature_layers(self) -> dict[str, FeatureLayer]:
        """The layers with a map for each frame."""
        return self.trunk.feature_layers

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, K).

        Args:
            frames: Normalized pixels, floating point, shape (B, T, 3, H, W), in order of time.

        Raises:
            UsageError: If the shape or the dtype differs.
        """
        logits: Tensor = self.head(self.trunk(frames))
        return logits
