"""Rendering of pages of this package, with filters for a user's words and for numbers."""

import base64
import math
from collections.abc import Callable

from markupsafe import Markup

from kinestore.pipeline.html_page import read_asset, render_page
from kinestore.pipeline.plotting.text import one_line

UNDEFINED = "\N{EN DASH}"


def user_text(text: object, *, most: int = 60) -> Markup:
    """Return a user's text in its own direction; if it is shortened, the title has all of it."""
    whole, shown = one_line(text), one_line(text, most=most)
    title = Markup("") if shown == whole else Markup(' title="{}"').format(whole)
    return Markup('<bdi dir="auto"{}>{}</bdi>').format(title, shown)


def rounded(value: float | None) -> str:
    """Format with three digits; a dash for None and NaN."""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:.3f}"


def count(value: int | None) -> str:
    """Format with commas between thousands; a dash for None."""
    return UNDEFINED if value is None else f"{value:,}"


def size(num_bytes: int) -> str:
    """Format in B, kB, MB and so on, powers of 1000."""
    amount, units = float(num_bytes), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while amount >= 1000 and (larger := next(units, None)):
        amount, unit = amount / 1000, larger
    return f"{num_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_FILTERS: dict[str, Callable[..., object]] = {
    "base64": _base64,
    "bytes": size,
    "user_text": user_text,
    "one_line": one_line,
    "rounded": rounded,
    "thousands": count,
}


def render(template: str, **values: object) -> str:
    """Render a template of this package as a page of its own, with the package's style and script.

    Args:
        template: Name of its file.
        **values: Variables of the template.
    """
    return render_page(
        __package__,
        template,
        style=read_asset(__package__, "report.css"),
        script=read_asset(__package__, "sort.js"),
        filters=_FILTERS,
        **values,
    )
