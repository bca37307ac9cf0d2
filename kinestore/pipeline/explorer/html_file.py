"""One file that holds the whole explorer."""

import re
from pathlib import Path

from kinestore.pipeline.explorer.encoding import encode, encode_thumbnails
from kinestore.pipeline.explorer.page import Page
from kinestore.pipeline.html_page import read_asset, render_page
from kinestore.store.io.atomic import written_whole

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:const|function|class) (\w+))", re.MULTILINE)


def write_explorer(page: Page, out: Path) -> None:
    """Write a page that needs no server and may reach no network.

    Args:
        page: The map and its clips. The same page gives the same bytes.
        out: File to write; its folder is made if absent.
    """
    text = render_page(
        __package__,
        "page.html",
        style=read_asset(__package__, "page.css"),
        script=bundle("main.js"),
        title=page.title,
        caption=page.caption,
        data=encode(page),
        thumbnails=encode_thumbnails(page),
    )
    with written_whole(out) as unfinished:
        # Half a surrogate pair, which UTF-8 cannot encode, is written by its number.
        unfinished.write_text(text, encoding="utf-8", errors="xmlcharrefreplace", newline="\n")


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
        source = read_asset(__package__, name)
        for _, imported in _IMPORT.findall(source):
            add(imported)
        exported = ", ".join(exported for _, exported in _EXPORT.findall(source))
        body = _EXPORT.sub(r"\1", _IMPORT.sub(r'const \1 = modules["\2"];', source))
        ordered[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();\n'

    add(entry)
    return '"use strict";\nconst modules = {};\n' + "".join(ordered.values())
