"""The sections of a federated run, as HTML."""

from collections.abc import Mapping
from typing import Any

from kinestore.pipeline.report.class_statistics import mean_top1
from kinestore.pipeline.report.html import clips, count, fraction, named, scrolled, size, table
from kinestore.pipeline.report.run_record import FederatedRecord, RunRecord
from kinestore.pipeline.report.svg_curves import bar
from kinestore.pipeline.report.svg_heat_map import draw_heat_map, draw_key
from kinestore.pipeline.runs.predictions import by_client

_MOST_REFUSALS = 20


def clients(run: RunRecord, federated: FederatedRecord) -> str:
    """What each client holds, how it fares on its own scored clips, and what it sent."""
    held = [0] * federated.num_clients
    for (client, _), num_clips in federated.partition.items():
        held[client] += num_clips
    parts = by_client(run.predictions, num_clients=federated.num_clients)
    rows = [
        (
            str(client),
            count(held[client]),
            count(part.num_clips),
            fraction(part.top1),
            bar(part.top1),
            count(sent["rounds"]),
            size(sent["bytes_up"]),
            size(sent["bytes_down"]),
        )
        for client, (part, sent) in enumerate(zip(parts, federated.sent["clients"], strict=True))
    ]
    scored = sum(part.num_clips > 0 for part in parts)
    note = (
        f"{scored} of {len(parts)} clients have scored clips of their own; the plain mean of their "
        f"top-1 is {fraction(mean_top1(parts))}."
    )
    head = ("#client", "#fitted", "#scored", "#top-1", "", "#rounds", "#sent up", "#sent down")
    content = scrolled(table(head, rows), label="Figures of each client", kind="sortable")
    return f'<p class="quiet">{note}</p>{content}'


def partition(run: RunRecord, federated: FederatedRecord) -> str:
    """Who holds how much of what."""
    number = {name: place for place, name in enumerate(run.classes)}
    counts = {
        (client, number[name]): num_clips
        for (client, name), num_clips in federated.partition.items()
    }
    most = max(counts.values(), default=1)
    names = [str(client) for client in range(federated.num_clients)]
    drawn = draw_heat_map(
        counts,
        rows=names,
        columns=run.classes,
        whole=dict.fromkeys(range(len(names)), most),
        what=("client", "class"),
    )
    told = f"{clips(sum(counts.values()))} that the saved model was fitted on."
    return (
        f'<p class="quiet">{told}</p>'
        + draw_key("none", clips(most))
        + scrolled(drawn, label="Clips by client and class", kind="drawn")
    )


def communication(run: RunRecord, federated: FederatedRecord) -> str:
    """What was sent, and what that saves."""
    sent = federated.sent
    return (
        f'<p class="quiet">Sums over all rounds and clients, of the saved model; buffers count as '
        f"bytes, envelopes of a transport do not.</p>{_amounts(sent)}"
        f"<h3>What sharing {count(sent['shared_parameters'])} of the head's "
        f"{count(sent['head_parameters'])} parameters saves</h3>{_reductions(sent)}"
        f"{_refusals(run.summary)}"
    )


def _amounts(sent: Mapping[str, Any]) -> str:
    def row(told: str, *parts: Mapping[str, int]) -> tuple[str, ...]:
        up, down, bytes_up, bytes_down = (
            sum(part[name] for part in parts)
            for name in ("parameters_up", "parameters_down", "bytes_up", "bytes_down")
        )
        return told, count(up), count(down), size(bytes_up), size(bytes_down)

    rounds, moments = sent["run"], sent["standardise"]
    rows = [row("rounds", rounds), row("moments of the columns, once", moments)]
    rows.append(row("together", rounds, moments))
    head = ("", "#parameters up", "#parameters down", "#bytes up", "#bytes down")
    return scrolled(table(head, rows), label="What was sent")


def _reductions(sent: Mapping[str, Any]) -> str:
    """Equations 13 and 14 of FLAMeST, for this run and as printed."""
    own, paper = sent["reduction"], sent["reduction"]["flamest"]
    whole, distilled = "1 - shared / (frozen networks + head)", "1 - shared / ResNet-18"
    rows = [
        ("sharing the whole network, this run", whole, fraction(own["against_whole_network"])),
        ("distilling into a ResNet-18, this run", distilled, fraction(own["against_distillation"])),
    ]
    for told, figures in (("this head", paper["this_head"]), ("as printed", paper["printed"])):
        head = f"{told}, {count(figures['head'])} parameters"
        eq_13, eq_14 = "1 - head / (BLIP + Slow + head)", "1 - head / ResNet-18"
        rows.append((f"FLAMeST, Eq. 13, {head}", eq_13, fraction(figures["eq_13"])))
        rows.append((f"FLAMeST, Eq. 14, {head}", eq_14, fraction(figures["eq_14"])))
    return scrolled(table(("against", "", "#saved"), rows), label="What is saved")


def _refusals(summary: Mapping[str, Any]) -> str:
    """Updates that were kept out, and why."""
    told = summary["refusals"]
    if not told:
        return "<p>No update was refused.</p>"
    more = len(told) - _MOST_REFUSALS
    items = "".join(f"<li>{named(one, most=200)}</li>" for one in told[:_MOST_REFUSALS])
    items += f"<li>and {count(more)} more</li>" if more > 0 else ""
    return f"<h3>{count(len(told))} updates refused</h3><ul>{items}</ul>"
