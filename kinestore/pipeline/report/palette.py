"""The page's colours, for light and dark, as CSS.

Letters and what they stand on differ by 4.5 : 1 at least, lines and what they stand on by 3 : 1
(*Web Content Accessibility Guidelines 2.2*, 2023, 1.4.3 and 1.4.11).
"""

NUM_LEVELS = 9
"""Shades of a heat map, besides none."""

NUM_LINES = 4
"""Colours of curves, from Okabe and Ito, "Color Universal Design", 2008, some darker or lighter."""

Rgb = tuple[int, int, int]

_LIGHT = {
    "back": "#ffffff",
    "raised": "#f5f7fa",
    "edge": "#d5dbe3",
    "word": "#1b222c",
    "quiet": "#56606e",
    "mark": "#0b61a4",
    "line1": "#0072b2",
    "line2": "#c25400",
    "line3": "#00805d",
    "line4": "#b0508c",
}
_DARK = {
    "back": "#14181e",
    "raised": "#1d232b",
    "edge": "#39424e",
    "word": "#e6eaf0",
    "quiet": "#a4afbd",
    "mark": "#7cbdf5",
    "line1": "#56b4e9",
    "line2": "#e69f00",
    "line3": "#2bc79a",
    "line4": "#e79cc6",
}
_RAMPS = {"light": ("#e3eef8", "#08457e"), "dark": ("#1f3040", "#bfe0ff")}


def variables(mode: str) -> str:
    """The colours of "light" or "dark" as CSS custom properties.

    `--level1` to `--level9` are the shades, `--on1` to `--on9` the letters upon them.
    """
    colours = dict(_LIGHT if mode == "light" else _DARK)
    first, last = (_rgb(colour) for colour in _RAMPS[mode])
    for level in range(1, NUM_LEVELS + 1):
        shade = _between(first, last, (level - 1) / (NUM_LEVELS - 1))
        colours[f"level{level}"] = _hex(shade)
        colours[f"on{level}"] = "#000000" if contrast(shade, (0, 0, 0)) > 4.6 else "#ffffff"
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def contrast(one: Rgb, other: Rgb) -> float:
    """WCAG's contrast ratio, 1 to 21: of black and of white, one is above 4.58 on any colour."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Rgb) -> float:
    shares = [value / 255 for value in colour]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _between(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(colour: Rgb) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
