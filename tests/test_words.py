"""Words that have a standard term instead, and no other sense here: they stay out of the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    *sorted(
        path
        for suffix in ("py", "html", "js")
        for path in (ROOT / "kinestore").rglob(f"*.{suffix}")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
    *sorted((ROOT / "examples").glob("*.py")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]
INSTEAD = {
    r"\bdealt\b": "assigned",
    r"\bwhoever\b": "the user",
    r"\bsomebody\b": "the user",
    r"\beverybody\b": "all libraries, all clients",
    r"\btells? of\b": "describes, reports",
    r"\bmade good\b": "resolved",
    r"\bkeeper\b": "supervisor",
    r"\bby the clock\b": "in wall time",
    r"\bto the (bit|digit)\b": "bit-identical, exactly",
    r"\bledger\b": "failure log",
    r"\bshel(f|ves)\b": "shard result",
    r"\breceipts?\b": "shard result",
    r"\bseats?\b": "client slots",
    r"\bunseen clips\b": "test clips",
    r"\bfitted clips\b": "training clips",
    r"\bscored clips\b": "test clips",
    r"\bgoes on where\b": "resumes",
    r"\bin the place of\b": "instead of",
    r"\bnames? [\d.]+ of\b": "reaches an accuracy of",
    r"\btold\b": "reported, printed",
    r"\btells\b": "reports, describes",
    r"\basked for\b": "requested",
    r"\basks? of\b": "requires",
    r"(?<!deep )(?<![/\w-])nets\b(?!\.md|-)": "networks",
    r"\b(a|the) net\b": "a network",
    r"\bfitted (clips|rows)\b": "training clips, training rows",
    r"\bto fit on\b": "training",
    r"\bkept frames\b": "stored frames",
    r"\bkept_frames\b": "frames",
    r"(?<!-)\bafresh\b": "again",
    r"(?<!\")\bswaps\b": "flip_pairs",
    r"(?<!\")\blooks\b(?! for)": "test_views",
    r"\bon_progress\b": "progress",
    r"\bleave \w+ away\b": "leave out ...",
    r"\bgo(es)? on with\b": "continue with",
    r"\b(labelled|normalised?|neighbours?|favours?|optimisers?|centred)\b": "American spelling",
}


@pytest.mark.parametrize("word", INSTEAD)
def test_the_standard_term_is_used(word: str) -> None:
    pattern = re.compile(word, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"{word}: write {INSTEAD[word]} in {', '.join(found)}"
