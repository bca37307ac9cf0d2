"""Texts in CSV files that people open in a spreadsheet, which reads some texts as formulas."""

import re

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")


def text_cell(text: str) -> str:
    """Return a text that no spreadsheet runs: one that starts like a formula gets an apostrophe."""
    return f"'{text}" if _FORMULA.match(text) else text


def cell_text(cell: str) -> str:
    """Return the text that `text_cell` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
