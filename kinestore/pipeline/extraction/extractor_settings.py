"""Extractors with settings of their own: `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kinestore.extractors import FrameChoice
from kinestore.store import UsageError

_SETTERS: dict[str, Callable[[FrameChoice, str], FrameChoice]] = {
    "sampling": lambda choice, text: replace(choice, kind=text),
    "keyframes": lambda choice, text: replace(choice, num_keyframes=int(text)),
    "frames": lambda choice, text: replace(choice, frames=int(text)),
    "space": lambda choice, text: replace(choice, space=text),
    "seed": lambda choice, text: replace(choice, seed=int(text)),
}
"""Settings of the choice of frames, and how each changes it."""


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """An extractor as a user names it.

    Attributes:
        name: The extractor.
        frame_choice: Which frames of a clip it sees.
        crop: Part of the picture that it sees, as `extractors.create` takes it.
    """

    name: str
    frame_choice: FrameChoice
    crop: str | None = None


def read_extractor(text: str, common: FrameChoice) -> ExtractorSettings:
    """Read an extractor, such as "cnn-densenet201:sampling=first:10of100,crop=square".

    Args:
        text: As a user wrote it.
        common: The choice of frames where the text has none of its own.

    Raises:
        UsageError: If a setting is unknown or named twice, or a value is not allowed.
    """
    name, _, rest = text.partition(":")
    choice, crop, seen = common, None, set[str]()
    for pair in rest.split(",") if rest else []:
        setting, _, value = pair.partition("=")
        if not value or setting not in (*_SETTERS, "crop"):
            known = ", ".join([*_SETTERS, "crop"])
            raise UsageError(
                f"extractor {text!r}: {pair!r} must be SETTING=VALUE, with SETTING one of {known}"
            )
        if setting in seen:
            raise UsageError(f"extractor {text!r}: has {setting} twice; leave one out")
        seen.add(setting)
        if setting == "crop":
            crop = value
        else:
            choice = _changed(choice, setting, value, text)
    return ExtractorSettings(name=name, frame_choice=choice, crop=crop)


def _changed(choice: FrameChoice, setting: str, value: str, text: str) -> FrameChoice:
    try:
        return _SETTERS[setting](choice, value)
    except UsageError as error:
        raise UsageError(f"extractor {text!r}: {error}") from None
    except ValueError:
        raise UsageError(f"extractor {text!r}: {setting} cannot be {value!r}") from None
