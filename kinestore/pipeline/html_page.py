"""Self-contained HTML pages from Jinja templates: styles, scripts and data are in the one file.

A package keeps its templates, style sheets and scripts in a folder `assets`.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources

import jinja2
from markupsafe import Markup

from kinestore.pipeline.json_text import json_text


def render_page(
    package: str,
    template: str,
    *,
    style: str,
    script: str,
    filters: Mapping[str, Callable[..., object]] | None = None,
    **values: object,
) -> str:
    """Render a page that needs no network connection.

    The template gets `policy`, a Content-Security-Policy under which no script or style runs but
    the page's own, known by their hashes, and images come from the page alone. All other values are
    escaped, and a name that is not defined is an error.

    Args:
        package: Package whose `assets` has the template.
        template: Name of its file.
        style: Style sheet, for the template as `style`.
        script: JavaScript, for the template as `script`.
        filters: Filters for the template.
        **values: Other variables of the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_function"] = json_text
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters.update(filters or {})
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    safe = {"policy": policy, "style": style, "script": script}
    return environment.get_template(template).render(
        values | {name: Markup(text) for name, text in safe.items()}
    )


def read_asset(package: str, name: str) -> str:
    """Return the text of a file in the `assets` of a package."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    """Return the name that a Content-Security-Policy gives an inline script or style."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
