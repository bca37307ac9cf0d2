"""Comparison of what clients have: those that differ must not average their models."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kinestore.federated.flower_app.messages import PROTOCOL, Description
from kinestore.pipeline.training.flower.job import compared_versions
from kinestore.store import Features, KinestoreError


@dataclass(frozen=True, kw_only=True)
class ClientComparison:
    """Settings by which clients are compared.

    Attributes:
        names: Names of all clients.
        classes: Names of all classes; None where every client must have the same.
        min_clips: Training clips that a client needs.
    """

    names: Sequence[str]
    classes: Sequence[str] | None
    min_clips: int

    def reference(self, found: Mapping[int, Description]) -> Description:
        """Return the description of most clients.

        Raises:
            KinestoreError: If there is none.
        """
        kinds = Counter(_kind(one, with_classes=self.classes is None) for one in found.values())
        (most, count), *others = kinds.most_common(2)
        if others and others[0][1] == count:
            named = "; ".join(
                f"client {client} ({self.names[client]}): {', '.join(one.features)}, "
                f"{len(one.classes)} classes"
                for client, one in list(found.items())[:4]
            )
            raise KinestoreError(
                f"the clients' features or classes differ, and none are most clients' ({named}); "
                "extract with the same extractors everywhere, or give classes"
            )
        return next(
            one for one in found.values() if _kind(one, with_classes=self.classes is None) == most
        )

    def difference(self, found: Description, like: Description) -> str | None:
        """Return why a client cannot learn with the others, or None."""
        classes = self.classes or like.classes
        own = compared_versions()
        if found.protocol != PROTOCOL:
            return f"speaks version {found.protocol} of the protocol, not {PROTOCOL}"
        for package, version in own.items():
            if found.versions.get(package) != version:
                return (
                    f"has {package} {found.versions.get(package)}, and the server {version}; "
                    "install the same"
                )
        if found.features != like.features:
            return (
                f"has the features {', '.join(found.features)}, and the others "
                f"{', '.join(like.features)}; extract with the same extractor and weights"
            )
        for name in ("shape", "widths", "masked"):
            if getattr(found, name) != getattr(like, name):
                return f"has {name}={getattr(found, name)}, and the others {getattr(like, name)}"
        unknown = sorted(set(found.classes) - set(classes))
        missing = sorted(set(classes) - set(found.classes)) if self.classes is None else []
        if unknown or missing:
            named = (
                f"has the class {unknown[0]!r}"
                if unknown
                else f"has no clip of class {missing[0]!r}"
            )
            return (
                f"{named}, unlike the others; give classes with all names where clients may differ"
            )
        if (
            sum(found.counts.values()) != found.num_train
            or min(found.counts.values(), default=0) < 0
        ):
            return "sent counts that do not add up"
        least = max(self.min_clips, 1)
        if found.num_train < least:
            return f"has {found.num_train} training clips, and min_clips is {least}"
        return None


def rows_like(like: Description, classes: Sequence[str]) -> Features:
    """Return features of this description, without any clip."""
    return Features(
        features=np.zeros((0, *like.shape), np.float32),
        labels=np.zeros(0, np.int64),
        clip_ids=[],
        groups=[],
        splits=[],
        uris=[],
        classes=list(classes),
        views=list(like.features),
        missing=[],
        widths=like.widths,
    )


def _kind(one: Description, *, with_classes: bool) -> tuple[object, ...]:
    classes = tuple(one.classes) if with_classes else ()
    return (tuple(one.features), tuple(one.shape), tuple(one.widths), one.masked, classes)
