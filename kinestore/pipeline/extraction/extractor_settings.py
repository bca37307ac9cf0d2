"""Extractors with settings of their own: `NAME` or `NAME:SETTING=VALUE,SETTING=VALUE`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from kinestore.extractors import FrameChoice, module_of
from kinestore.store import UsageError

_SETTERS: dict[str, Callable[[FrameChoice, str], FrameChoice]] = {
    "sampling": lambda choice, text: replace(choice, kind=text),
    "keyframes": lambda choice, text: replace(choice, num_keyframes=int(text)),
    "frames": lambda choice, text: replace(choice, frames=int(text)),
    "space": lambda choice, text: replace(choice, space=text),
    "seed": lambda choice, text: replace(choice, seed=int(text)),
}
"""Settings of the choice of frames, and how each changes it."""


_TEXTS = {"crop": "crop", "weights": "weights", "as": "view"}
"""Other settings, and the attributes that hold them."""


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """An extractor as a user names it.

    Attributes:
        name: The extractor.
        frame_choice: Which frames of a clip it sees.
        crop: Part of the picture that it sees, as `extractors.create` takes it.
        weights: Its checkpoint; None for that of `--weights`, or the published one.
        view: Name of its view in the store, such as "r3d-ucf"; None for that of the extractor.
        written: Names of the settings that the user wrote.
    """

    name: str
    frame_choice: FrameChoice
    crop: str | None = None
    weights: str | None = None
    view: str | None = None
    written: frozenset[str] = frozenset()


def read_extractor(text: str, common: FrameChoice) -> ExtractorSettings:
    """Read an extractor, such as "cnn-densenet201:sampling=first:10of100,crop=square".

    Args:
        text: As a user wrote it.
        common: The choice of frames where the text has none of its own.

    Raises:
        UsageError: If a setting is unknown or named twice, or a value is not allowed.
    """
    name, _, rest = text.partition(":")
    choice, texts, seen = common, dict[str, str](), set[str]()
    for pair in rest.split(",") if rest else []:
        setting, _, value = pair.partition("=")
        if not value or setting not in (*_SETTERS, *_TEXTS):
            known = ", ".join([*_SETTERS, *_TEXTS])
            raise UsageError(
                f"extractor {text!r}: {pair!r} must be SETTING=VALUE, with SETTING one of {known}"
            )
        if setting in seen:
            raise UsageError(f"extractor {text!r}: has {setting} twice; leave one out")
        seen.add(setting)
        if setting in _TEXTS:
            texts[_TEXTS[setting]] = value
        else:
            choice = _changed(choice, setting, value, text)
    if (view := texts.get("view")) is not None and view != name and _is_extractor(view):
        raise UsageError(
            f"extractor {text!r}: as={view} is the name of another extractor; take another one"
        )
    return ExtractorSettings(name=name, frame_choice=choice, written=frozenset(seen), **texts)


def view_name(text: str) -> str:
    """Return the name that the view of an extractor has in a store, without the fingerprint.

    Raises:
        UsageError: If the text is no extractor with settings.
    """
    one = read_extractor(text, FrameChoice())
    return one.view or one.name


def _is_extractor(name: str) -> bool:
    try:
        module_of(name)
    except UsageError:
        return False
    return True


def _changed(choice: FrameChoice, setting: str, value: str, text: str) -> FrameChoice:
    try:
        return _SETTERS[setting](choice, value)
    except UsageError as error:
        raise UsageError(f"extractor {text!r}: {error}") from None
    except ValueError:
        raise UsageError(f"extractor {text!r}: {setting} cannot be {value!r}") from None
