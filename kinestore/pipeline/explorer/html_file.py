"""One file that holds the whole explorer."""

import base64
import hashlib
import html
import re
from importlib import resources
from pathlib import Path
from string import Template

from kinestore.pipeline.explorer.encoding import encode, encode_thumbnails
from kinestore.pipeline.explorer.page import Page

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:const|function|class) (\w+))", re.MULTILINE)


def write_explorer(page: Page, out: Path) -> None:
    """Write a page that needs no server and may reach no network.

    Args:
        page: What it shows. The same page gives the same bytes.
        out: File to write; its folder is made if absent.
    """
    style, script = _asset("page.css"), bundle("main.js")
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    whole = Template(_asset("page.html")).substitute(
        policy="; ".join(" ".join(rule) for rule in policy.items()),
        title=_text(page.title),
        caption=_text(page.caption),
        style=style,
        data=encode(page),
        thumbnails=encode_thumbnails(page),
        script=script,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(whole, encoding="utf-8", newline="\n")


def bundle(entry: str) -> str:
    """Join JavaScript modules into one script, each after what it imports.

    Each becomes a function that is called once, so that its own names stay its own.

    Args:
        entry: The module that starts the page. All import by name, `import { a } from "./b.js";`,
            and export where they declare, `export const a`, `function` or `class`.
    """
    ordered: dict[str, str] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        source = _asset(name)
        for _, imported in _IMPORT.findall(source):
            add(imported)
        exported = ", ".join(exported for _, exported in _EXPORT.findall(source))
        body = _EXPORT.sub(r"\1", _IMPORT.sub(r'const \1 = modules["\2"];', source))
        ordered[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();\n'

    add(entry)
    return '"use strict";\nconst modules = {};\n' + "".join(ordered.values())


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(value: str) -> str:
    """Text in a page; what is not ASCII by number, half a surrogate pair too."""
    return html.escape(value).encode("ascii", "xmlcharrefreplace").decode()
