"""One page of a run: plain HTML that asks the network for nothing."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from kinestore.pipeline.report import federated_sections as together
from kinestore.pipeline.report import sections
from kinestore.pipeline.report.class_statistics import Mistake, by_class, mean_top1
from kinestore.pipeline.report.clip_cards import Look
from kinestore.pipeline.report.html import count, fraction, named, pairs, plain, size
from kinestore.pipeline.report.run_record import RunRecord
from kinestore.pipeline.report.style import script, style
from kinestore.pipeline.runs.predictions import by_client

MOST_MISTAKES = 24
"""Clips that were taken for another class, of which a page shows each."""


def page(run: RunRecord, mistakes: Sequence[Mistake], looks: Mapping[str, Look]) -> str:
    """The whole page; the same run and looks give the same text.

    Args:
        run: What it tells of.
        mistakes: Of the run, the most confident first.
        looks: What a store shows of them, by clip_id.
    """
    parts = _parts(run, mistakes, looks)
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>\n' for title in parts)
    content = "\n".join(
        f'<section id="{_anchor(title)}"><h2>{title}</h2>\n{content}\n</section>'
        for title, content in parts.items()
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_policy()}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Run {plain(run.name, most=80)}</title>\n<style>{style()}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>Run {named(run.name, most=80)}</h1>\n<p>{_told(run)}</p>\n"
        f'<div class="headline">{_headline(run)}</div>\n<nav>{links}</nav>\n</header>\n'
        f"<main>\n{content}\n</main>\n<script>{script()}</script>\n</body>\n</html>\n"
    )


def _parts(
    run: RunRecord, mistakes: Sequence[Mistake], looks: Mapping[str, Look]
) -> dict[str, str]:
    """Each section by its title; none that is empty."""
    federated = run.federated
    parts = {
        "Settings": sections.settings(run),
        "Curves": sections.curves(run),
        "Confusion": sections.confusion_matrix(run),
        "Classes": sections.classes(by_class(run.predictions, run.classes)),
        "Folds": sections.folds(run),
    }
    if federated is not None:
        parts["Clients"] = together.clients(run, federated)
        parts["Partition"] = together.partition(run, federated)
        parts["Communication"] = together.communication(run, federated)
    parts["Most confident errors"] = sections.mistakes(run, mistakes, looks, most=MOST_MISTAKES)
    parts["Provenance"] = sections.provenance(run)
    return {title: content for title, content in parts.items() if content}


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _policy() -> str:
    """Nothing is loaded, and no script or style runs but the page's own, known by their hashes."""
    own = {"style-src": style(), "script-src": script()}
    hashes = "; ".join(
        f"{kind} 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, text in own.items()
    )
    rules = f"default-src 'none'; img-src data:; {hashes}; base-uri 'none'; form-action 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'


def _told(run: RunRecord) -> str:
    """What the run is, in a sentence."""
    config = run.config
    how = "trained on all fitted clips together"
    if run.federated is not None:
        how = (
            f"trained by {count(run.federated.num_clients)} clients in "
            f"{count(len(run.federated.sent['rounds']))} rounds of "
            f"{named(config.get('strategy'))}, dealt {named(config.get('partition'))}"
        )
    views = " + ".join(named(view.split("@")[0]) for view in config["features"])
    scored = named(config["evaluation"])
    return f"Head {named(config['head'])} on {views}, {how}; evaluation: {scored}."


def _headline(run: RunRecord) -> str:
    """The figures that a person looks for first."""
    summary = run.summary
    figures = [
        ("top-1", fraction(summary["top1"])),
        ("top-5", fraction(summary["top5"])),
        ("macro F1", fraction(summary["macro_f1"])),
        ("macro precision", fraction(summary["macro_precision"])),
        ("macro recall", fraction(summary["macro_recall"])),
        ("clips scored", count(len(run.predictions.clip_ids))),
        ("classes", count(len(run.classes))),
    ]
    if run.federated is not None:
        parts = by_client(run.predictions, num_clients=run.federated.num_clients)
        sent = run.federated.sent
        up = sent["run"]["bytes_up"] + sent["standardise"]["bytes_up"]
        figures.insert(1, ("mean top-1 of clients", fraction(mean_top1(parts))))
        figures.append(("sent up", size(up)))
    return pairs(figures).replace("<dl>", '<dl class="cards">')
