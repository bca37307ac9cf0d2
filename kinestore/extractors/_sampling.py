"""Ways to choose frames, as users write them: `uniform`, `step:4`, `first:10of100`, `random:16`.

Shape legend: T frames of the clip, n chosen frames, L frames of the longest sequence.
"""

import re
from dataclasses import dataclass

from kinestore.store import UsageError

MAX_FRAMES = 1024
"""Most frames of a clip that an extractor takes."""

_NUMBER = "([0-9]{1,6})"
_GRAMMAR = (
    re.compile("(keyframes|uniform|step|random)"),
    re.compile(f"(step):{_NUMBER}"),
    re.compile(f"(first):{_NUMBER}"),
    re.compile(f"(first):{_NUMBER}of{_NUMBER}"),
    re.compile(f"(random):{_NUMBER}"),
    re.compile(f"(random):{_NUMBER}x{_NUMBER}"),
    re.compile(f"(pieces):{_NUMBER}"),
)
_EXAMPLES = (
    "keyframes, uniform, step:4, first:40, first:10of100, random:16, random:16x4 or pieces:8"
)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A way to choose frames.

    Attributes:
        name: "keyframes" (nearest to k-means centers), "uniform" (evenly spaced from the first to
            the last), "step" (`stepped_frames` as released), "first" (`first_frames`), "random"
            (`random_clip`) or "pieces" (`consecutive_clips`).
        count: n; the number of pieces; None where the extractor decides it.
        longest: L of "first", of which n rows are taken.
        stride: Distance of the frames of "random".
    """

    name: str
    count: int | None = None
    longest: int | None = None
    stride: int = 1


def read_sampling(text: str) -> Sampling:
    """Read a way to choose frames.

    Raises:
        UsageError: If it is none, or a number is out of range.
    """
    match = next((found for one in _GRAMMAR if (found := one.fullmatch(text))), None)
    if match is None:
        raise UsageError(f"sampling={text!r}: must be {_EXAMPLES}")
    name, *written = match.groups()
    numbers = [int(number) for number in written]
    if not all(numbers):
        raise UsageError(f"sampling={text!r}: its numbers must be 1 or more")
    if numbers and numbers[0] > MAX_FRAMES:
        raise UsageError(f"sampling={text!r}: must be {MAX_FRAMES} or less a clip")
    count = numbers[0] if numbers else None
    if name == "first":
        longest = numbers[-1]
        if count is not None and count > longest:
            raise UsageError(f"sampling={text!r}: takes {count} of {longest} frames; take fewer")
        return Sampling(name=name, count=count, longest=longest)
    return Sampling(name=name, count=count, stride=numbers[1] if len(numbers) > 1 else 1)
