"""Settings of a federation's server are checked before it listens."""

import pytest

from kinestore.pipeline.training.flower.server import ServerConfig
from kinestore.store import UsageError


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["hug", "kick", "hug"], "classes='hug,kick,hug': one is named twice"),
        (["hug", ""], "classes='hug,': has a name without letters"),
    ],
)
def test_classes_that_cannot_be_are_refused(classes: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ServerConfig(host="127.0.0.1", port=1, certificates=None, clients=["a"], classes=classes)
