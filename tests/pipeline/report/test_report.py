"""The page of a run: its numbers, what it refuses, and what it makes of hostile names."""

import base64
import csv
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.heads import TrainingConfig
from kinestore.pipeline.plotting.text import one_line
from kinestore.pipeline.report import report
from kinestore.pipeline.report.class_statistics import by_class
from kinestore.pipeline.report.curves import read_curves
from kinestore.pipeline.report.html import count, rounded, size, user_text
from kinestore.pipeline.report.svg_curves import lay_out_curves
from kinestore.pipeline.runs.client_partition import count_client_classes
from kinestore.pipeline.runs.predictions import read_predictions, write_predictions
from kinestore.pipeline.video.identity import identify
from kinestore.store import Clip, Embedding, Source, Store, StoreError, UsageError, ViewSpec
from tests.helpers.broken_client import break_client
from tests.helpers.jobs import federate, train
from tests.helpers.numbered import make_video
from tests.helpers.reported import HOSTILE, Page, change, retold, without_pictures
from tests.helpers.stored import INFO, clip
from tests.helpers.trained import SHORT, clips, metrics

QUICK = TrainingConfig(epochs=1, batch_size=16)
SAID = [
    ("a", "a", 0.9),
    ("a", "a", 0.8),
    ("a", "b", 0.7),
    ("b", "b", 0.6),
    ("b", "a", 0.95),
    ("c", "a", 0.7),
]
"""Six clips of three classes; of class d there is none."""


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    yield from without_pictures()


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = tmp_path_factory.mktemp("runs") / "central"
    train(clips(), out=run, settings=SHORT)
    return run


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that leaves one of four groups out at a time, some of which stop early."""
    run = tmp_path_factory.mktemp("runs") / "folded"
    settings = TrainingConfig(epochs=6, learning_rate=0.02)
    train(clips(), out=run, cv="group", validation=0.3, patience=1, settings=settings)
    return run


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished federated run."""
    run = tmp_path_factory.mktemp("runs") / "together"
    asked: dict[str, Any] = {"partition": "dirichlet:0.6", "clients": 3, "folds": 2}
    federate(clips(), out=run, rounds=2, settings=QUICK, **asked)
    return run


def told(run: Path) -> Page:
    """The page of a run."""
    return Page(report(run, out=run.with_suffix(".html")).path)


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


# Its numbers.


def test_figures_of_classes_worked_by_hand(tmp_path: Path, central: Path) -> None:
    # a: 3 clips, 4 taken for it, 2 rightly: 2/4, 2/3 and 2 * 2 / (3 + 4) = 4/7
    # b: 2 clips, 2 taken for it, 1 rightly: 1/2, 1/2 and 2 * 1 / (2 + 2)
    # c: 1 clip, none taken for it; d: neither
    page = told(retold(central, tmp_path / "run", SAID, classes="abcd"))
    assert page.tables["Figures of each class"][1:] == [
        ["a", "3", "0.500", "0.667", "0.571", "", "b", "1"],
        ["b", "2", "0.500", "0.500", "0.500", "", "a", "1"],
        ["c", "1", "\u2013", "0.000", "0.000", "", "a", "1"],
        ["d", "0", "\u2013", "\u2013", "\u2013", "", "\u2013", "0"],
    ]
    assert page.tables["Most frequent confusions"][1:] == [
        ["a", "b", "1", "0.333"],
        ["b", "a", "1", "0.500"],
        ["c", "a", "1", "1.000"],
    ]
    assert page.facts["top-1"] == "0.500" and page.facts["test clips"] == "6"


def test_errors_come_the_most_confident_first_and_equals_by_clip(
    tmp_path: Path, central: Path
) -> None:
    text = told(retold(central, tmp_path / "run", SAID, classes="abcd")).text
    shown = re.findall(r"(\w) predicted as (\w) confidence ([\d.]+) (\w{32})", text)
    assert [(*one[:3], int(one[3], 16)) for one in shown] == [
        ("b", "a", "0.950", 4),
        ("a", "b", "0.700", 2),
        ("c", "a", "0.700", 5),
    ]
    assert "3 clips were misclassified." in text


def test_of_many_errors_the_most_confident_are_shown(tmp_path: Path, central: Path) -> None:
    said = [("a", "b", row / 100) for row in range(100)]
    text = told(retold(central, tmp_path / "run", said, classes="ab")).text
    assert "100 clips were misclassified; these 24 with the highest softmax." in text
    shown = re.findall(r"confidence ([\d.]+) ", text)
    assert [float(one) for one in shown] == [row / 100 for row in range(99, 75, -1)]


def test_a_run_without_an_error_says_so(tmp_path: Path, central: Path) -> None:
    page = told(retold(central, tmp_path / "run", [("a", "a", 1.0)], classes="ab"))
    assert page.text.count("No test clip was misclassified.") == 2
    assert "Most frequent confusions" not in page.tables


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_classes_figures_mean_what_the_summary_says(tmp_path: Path, seed: int) -> None:
    run = tmp_path / "run"
    summary = train(clips(seed), out=run, seed=seed, settings=QUICK)
    rows = by_class(read_predictions(run), summary["classes"])
    for name in ("precision", "recall", "f1"):
        values = [getattr(row, name) for row in rows]
        mean = np.mean([0 if math.isnan(value) else value for value in values])
        assert mean == pytest.approx(summary[f"macro_{name}"])
    assert sum(row.num_clips for row in rows) == summary["num_test"]


def test_the_page_tells_what_the_summary_holds(central: Path) -> None:
    page, summary = told(central), summary_of(central)
    for name, shown in {"top1": "top-1", "top5": "top-5", "macro_f1": "macro F1"}.items():
        assert page.facts[shown] == f"{summary[name]:.3f}"
    assert page.facts["training clips"] == "48" and page.facts["test clips"] == "12"
    assert page.facts["learning rate"] == "0.001" and page.facts["epochs"] == "3"
    assert page.facts["seed"] == "0" and page.facts["view"] == "motion@0123456789abcdef"
    for name, version in summary["versions"].items():
        assert page.facts[name] == version
    assert "Folds" not in page.tables and "Clients" not in page.text


def test_folds_are_told_as_the_summary_has_them(folded: Path) -> None:
    table = told(folded).tables["Folds"]
    top1 = summary_of(folded)["fold_top1"]
    assert table[1:] == [[name, "15", f"{top1[name]:.3f}", ""] for name in sorted(top1)]


def test_numbered_folds_come_in_their_order(tmp_path: Path) -> None:
    train(clips(), out=tmp_path / "run", folds=11, settings=QUICK)
    table = told(tmp_path / "run").tables["Folds"]
    assert [row[0] for row in table[1:]] == [str(number) for number in range(1, 12)]


def test_clients_and_what_was_sent_are_told_as_the_summary_has_them(together: Path) -> None:
    page, summary = told(together), summary_of(together)
    rows = page.tables["Figures of each client"][1:]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [row[1] for row in rows] == [str(size) for size in summary["client_sizes"]]
    assert [row[3] for row in rows] == [rounded(top1) for top1 in summary["client_top1"]]
    assert page.facts["mean top-1 of clients"] == rounded(summary["mean_client_top1"])
    amounts = page.tables["What was sent"][1:]
    assert amounts[0][1] == count(summary["parameters_up"])
    assert amounts[2][3:] == [size(summary["bytes_up"]), size(summary["bytes_down"])]
    assert page.facts["sent up"] == size(summary["bytes_up"])


@pytest.mark.parametrize(
    ("frozen", "saved", "sentence"),
    [
        ({"blip": 10, "slow": 20}, 0.9876, "saves 0.988 .*: 1 - shared / .frozen networks . head"),
        ({}, 0.25, "saves 0.250 .*: 1 - shared / .whole network"),
        ({}, 0.0, None),  # a network on frames that is shared whole
        ({"cnn-x": None}, None, None),  # of an unknown size
    ],
)
def test_what_sharing_a_part_saves_is_shown_where_there_is_something_to_compare(
    together: Path,
    tmp_path: Path,
    frozen: dict[str, int | None],
    saved: float | None,
    sentence: str | None,
) -> None:
    run = shutil.copytree(together, tmp_path / "run")
    sent = json.loads((run / "communication.json").read_text())
    # what earlier versions wrote besides is not read
    older = {"against_distillation": 0.8, "flamest": {"printed": {"eq_13": 0.9}}}
    for more in ({}, older):
        figures = {"frozen_parameters": frozen, "against_whole_network": saved, **more}
        change(run / "communication.json", reduction=figures)
        page = report(run, out=tmp_path / "x.html").path.read_text("utf-8")
        assert f"Clients share {sent['shared_parameters']:,} of the model" in page
        found = re.search(sentence or "This saves", page)
        assert (found is not None) == (sentence is not None)
        assert "FLAMeST" not in page


def test_the_partition_is_drawn_cell_by_cell(together: Path) -> None:
    page = report(together, out=together.with_suffix(".html")).path.read_text("utf-8")
    drawn = re.findall(r"<title>client (\d), class (\w+): (\d+)</title>", page)
    held = Counter({(int(client), name): int(number) for client, name, number in drawn})
    assert held == count_client_classes(together)


def test_the_confusion_is_drawn_cell_by_cell(folded: Path) -> None:
    page = report(folded, out=folded.with_suffix(".html")).path.read_text("utf-8")
    drawn = re.findall(r"<title>true (\w+), predicted (\w+): (\d+)</title>", page)
    kept = read_predictions(folded)
    counted = Counter(zip(kept.labels, kept.predicted, strict=True))
    assert {(label, said): int(number) for label, said, number in drawn} == counted


def test_refusals_and_clients_that_are_left_out_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_client(monkeypatch, 0)
    splits = ["test" if row < 12 else "train" for row in range(60)]
    groups = ["d" if row == 59 else "abc"[row % 3] for row in range(60)]
    asked: dict[str, Any] = {"partition": "group", "clients": 4, "rounds": 1}
    federate(clips(splits=splits, groups=groups), out=tmp_path / "run", settings=QUICK, **asked)
    text = told(tmp_path / "run").text
    assert "1 clients had too few clips and were left out client 3: 1 training clips" in text
    assert "1 updates rejected round 1, client 0: " in text and "holds NaN or infinity" in text


# Its curves.


def test_curves_are_the_mean_and_range_of_the_folds_that_have_a_step(folded: Path) -> None:
    rows = metrics(folded)
    losses, accuracies = read_curves(folded, job="train")
    assert list(losses.lines) == ["training", "validation"] and losses.num_folds == 4
    assert list(accuracies.lines) == ["training", "validation", "test"]
    columns = {"training": "train_loss", "validation": "validation_loss"}
    for name, line in losses.lines.items():
        for place, step in enumerate(line.steps):
            values = [float(row[columns[name]]) for row in rows if row["epoch"] == str(step)]
            assert line.mean[place] == pytest.approx(np.mean(values))
            assert (line.low[place], line.high[place]) == (min(values), max(values))
    assert len({row["epoch"] for row in rows}) == len(losses.lines["training"].steps)


def test_curves_of_clients_leave_out_the_model_of_all_rows(together: Path) -> None:
    losses, accuracies = read_curves(together, job="federate")
    rows = [row for row in metrics(together) if row["fold"] != "all"]
    values = [float(row["train_loss"]) for row in rows if row["round"] == "2"]
    assert losses.lines["clients"].mean[1] == pytest.approx(np.mean(values)) and len(values) == 2
    assert losses.num_folds == accuracies.num_folds == 2
    assert list(accuracies.lines) == ["model"] and accuracies.is_fraction


def test_other_models_have_a_line_each(tmp_path: Path) -> None:
    strategy = "feddyn:alpha=0.1,variant=released"
    federate(clips(), out=tmp_path, strategy=strategy, rounds=2, settings=QUICK)
    lines = read_curves(tmp_path, job="federate")[1].lines
    said = [dict(item.split("=") for item in row["others"].split(";")) for row in metrics(tmp_path)]
    assert set(lines) == {"model", *said[0]} and len(said[0]) == 2
    for name in said[0]:
        assert lines[name].mean == [float(row[name]) for row in said]


def test_a_line_goes_where_its_values_are(tmp_path: Path, central: Path) -> None:
    shutil.copytree(central, tmp_path / "run")
    header = ",".join(metrics(central)[0])
    rows = ["test,1,4,0.5,,,0,1,1", "test,2,nan,0.5,,,0.5,1,1", "test,3,1,inf,,,1,1,1"]
    (tmp_path / "run" / "metrics.csv").write_text("\n".join([header, *rows]))
    losses, accuracies = read_curves(tmp_path / "run", job="train")
    assert losses.lines["training"].steps == [1, 3]
    # from 44 to 470 right, and from 234 for 0 up to 10 for the highest, which is 4 and is 1
    assert lay_out_curves(losses).lines[0].mean == [(44, 10), (470, 178)]
    assert lay_out_curves(accuracies).lines[1].mean == [(44, 234), (257, 122), (470, 10)]
    page = report(tmp_path / "run", out=tmp_path / "run.html").path.read_text("utf-8")
    assert 'line1" points="44.0,10.0 470.0,178.0"' in page
    assert 'line2" points="44.0,234.0 257.0,122.0 470.0,10.0"' in page


@pytest.mark.parametrize("row", ["test,1,4", "test,2,4,0.5,,,0,1,1,7", "", "test"])
def test_a_row_of_another_length_is_refused(row: str, tmp_path: Path, central: Path) -> None:
    shutil.copytree(central, tmp_path / "run")
    header = ",".join(metrics(central)[0])
    (tmp_path / "run" / "metrics.csv").write_text(f"{header}\n{row}\n")
    if row:
        with pytest.raises(UsageError, match=r"metrics\.csv: row 2 has not as many values"):
            report(tmp_path / "run", out=tmp_path / "run.html")
    else:
        report(tmp_path / "run", out=tmp_path / "run.html")


def test_a_single_step_is_a_dot(tmp_path: Path) -> None:
    train(clips(), out=tmp_path, settings=QUICK)
    panels = read_curves(tmp_path, job="train")
    assert told(tmp_path).tags.count("circle") == sum(len(panel.lines) for panel in panels) == 3


# What a store shows.


def wrong_run(tmp_path: Path, central: Path, clip_ids: list[str]) -> Path:
    """A run that took these clips, and three more, for another class."""
    said = [("a", "b", 0.9 - row / 10) for row in range(len(clip_ids) + 3)]
    run = retold(central, tmp_path / "run", said, classes="ab")
    kept = read_predictions(run)
    kept.clip_ids[: len(clip_ids)] = clip_ids
    write_predictions(run, kept)
    return run


def test_a_store_shows_pictures_captions_and_file_names(tmp_path: Path, central: Path) -> None:
    files = [make_video(tmp_path / f"<b>{name}.mp4", first=10 * n) for n, name in enumerate("xy")]
    store = Store.create(tmp_path / "store")
    ids = [identify(str(path)) for path in files]
    sources = [Source(uri=str(path)) for path in files]
    store.append_clips(
        [Clip(clip_id=i, source=s, info=INFO) for i, s in zip(ids, sources, strict=True)]
    )
    seen = Embedding(
        vector=np.zeros(1, np.float32),
        frame_index=np.array([3]),
        pts_s=np.array([0.12]),
        caption="a <i>man</i>",
    )
    store.append(ViewSpec(extractor="blip", shape=(1,), settings={}), ids[:1], [seen])
    files[1].unlink()
    run = wrong_run(tmp_path, central, ids)
    ticks: list[tuple[object, ...]] = []

    out = report(
        run, out=tmp_path / "r.html", store=store, progress=lambda *tick: ticks.append(tick)
    ).path
    page = Page(out)
    assert "<b>x.mp4" in page.text and "<b>y.mp4" in page.text and "a <i>man</i>" in page.text
    assert ids[0] not in page.text and f"{4:032x}" in page.text  # the store has not all clips
    assert str(tmp_path) not in out.read_text("utf-8")
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)" alt="([^"]+)"', out.read_text())
    assert [alt for _, alt in pictures] == ["a &lt;i&gt;man&lt;/i&gt;"]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0][0]), np.uint8), 1)
    assert picture is not None and picture.shape == (64, 64, 3)
    assert ticks[-1] == ("thumbnails", 2, 2)


def test_a_store_of_other_clips_is_refused(tmp_path: Path, central: Path) -> None:
    store = Store.create(tmp_path / "store")
    store.append_clips([clip("other")])
    run = retold(central, tmp_path / "run", SAID, classes="abcd")
    with pytest.raises(UsageError, match=r"store=.*: has none of the run's clips; name the store"):
        report(run, out=tmp_path / "r.html", store=tmp_path / "store")
    with pytest.raises(StoreError, match="no store here"):
        report(run, out=tmp_path / "r.html", store=tmp_path / "nothing")
    assert not (tmp_path / "r.html").exists()


# Names of any kind.


def test_names_are_text_wherever_they_stand(tmp_path: Path, central: Path) -> None:
    said = [(name, HOSTILE[row - 1], 0.5) for row, name in enumerate(HOSTILE)]
    run = retold(central, tmp_path / "run", said, classes=HOSTILE)
    change(run / "config.json", head="<script>1</script>", features=["<b>@<i>"])
    page = told(run)
    assert page.tags.count("script") == 1 and not {"b", "img", "i"} & set(page.tags)
    shown = [row[0] for row in page.tables["Figures of each class"][1:]]
    assert shown[:3] == ["(blank)", "a,\"b\",'c'", "<b>bold</b>&amp;"]
    assert shown[7] == "x" * 59 + "\u2026" and "x" * 300 in page.titles
    assert shown[10:13] == [HOSTILE[10], HOSTILE[11], "turned"]  # no mark that turns the page
    assert shown[13:] == ["two lines and a tab", "bell  and nul"]


def test_pieces_of_text() -> None:
    assert user_text("a<b") == '<bdi dir="auto">a&lt;b</bdi>'
    assert user_text("abcd", most=3) == '<bdi dir="auto" title="abcd">ab\u2026</bdi>'
    assert user_text('"' * 4, most=3).count("&#34;") == 6
    assert one_line("\u2066x\ud800y\u202e") == "x y" and one_line(" \x00") == "(blank)"
    assert len(one_line("x" * 5000)) == 1000
    assert [size(n) for n in (0, 999, 1000, 15_000_000, 10**18)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "15.0 MB",
        "1000000.0 TB",
    ]
    assert (rounded(None), rounded(math.nan), rounded(2 / 3)) == ("\u2013", "\u2013", "0.667")


@pytest.mark.parametrize("num_classes", [2, 20, 101, 150, 151, 1000])
def test_pages_of_any_number_of_classes_stay_small(
    tmp_path: Path, central: Path, num_classes: int
) -> None:
    names = [f"HandstandPushups {number:04d}" for number in range(num_classes)]
    rng = np.random.default_rng(0)
    said = [(name, names[rng.integers(num_classes)], 0.5) for name in names for _ in range(4)]
    run = retold(central, tmp_path / "run", said, classes=names)
    out = report(run, out=tmp_path / "r.html").path
    drawing = re.search(r'<svg class="map" width="(\d+)".*?</svg>', out.read_text(), re.DOTALL)
    assert drawing is not None and int(drawing[1]) <= 1600
    assert ("HandstandPushups 0001</text>" in drawing[0]) == (num_classes <= 150)
    assert (f"true, {num_classes:,} in all" in drawing[0]) == (num_classes > 150)
    for width in re.findall(r'<rect class="level\d" [^>]* width="([\d.]+)"', drawing[0]):
        assert float(width) >= 3
    for width, height in re.findall(r"h([\d.]+)v([\d.]+)h-", drawing[0]):
        assert float(width) >= 3 and float(height) >= 3
    assert len(Page(out).tables["Figures of each class"]) == 1 + num_classes
    assert out.stat().st_size < 1_500_000


# Files and mistakes.


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, together: Path) -> None:
    first = report(together, out=tmp_path / "a" / "x.html").path.read_bytes()
    shutil.copytree(together, tmp_path / "b" / "together")
    assert report(tmp_path / "b" / "together", out=tmp_path / "y.HTML").path.read_bytes() == first
    (tmp_path / "a" / "x.html").write_text("of an earlier run")
    assert report(together, out=tmp_path / "a" / "x.html").path.read_bytes() == first
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.html"]


@pytest.mark.parametrize("name", ["page.pdf", "page", "page.html.txt"])
def test_another_ending_is_refused(tmp_path: Path, central: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"out=.*{name}: must end in .html"):
        report(central, out=tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_what_is_no_finished_run_is_refused(tmp_path: Path, central: Path) -> None:
    with pytest.raises(UsageError, match="is no run folder; name one that"):
        report(tmp_path, out=tmp_path / "x.html")
    for name, message in {
        "predictions.parquet": "has no predictions.parquet, as an earlier version left it",
        "metrics.csv": "has no metrics.csv, as an earlier version left it; give its command again",
        "summary.json": "is not finished; give its command again, and wait",
    }.items():
        run = shutil.copytree(central, tmp_path / name / "run")
        (run / name).unlink()
        with pytest.raises(UsageError, match=message):
            report(run, out=tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def sent_without(run: Path, name: str) -> None:
    sent = json.loads((run / "communication.json").read_text())
    del sent["reduction"][name]
    (run / "communication.json").write_text(json.dumps(sent))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda run: change(run / "summary.json", top1=math.nan), "summary.json: lacks a value"),
        (lambda run: change(run / "summary.json", top5="1"), "summary.json: lacks a value"),
        (lambda run: change(run / "summary.json", num_test=-1), "summary.json: lacks a value"),
        (lambda run: change(run / "summary.json", num_test=True), "summary.json: lacks a value"),
        (lambda run: change(run / "summary.json", classes=["a"] * 3), "summary.json: lacks a val"),
        (
            lambda run: change(run / "summary.json", classes=["a"]),
            "a clip has a class that summary",
        ),
        (lambda run: change(run / "summary.json", refusals=[1]), "summary.json: lacks a value"),
        (lambda run: change(run / "summary.json", top1=0.123), "are not of one run"),
        (lambda run: change(run / "config.json", head=None), "config.json: lacks a setting"),
        (lambda run: change(run / "config.json", seed="x"), "config.json: lacks a setting"),
        (
            lambda run: change(run / "config.json", features="motion"),
            "config.json: lacks a setting",
        ),
        (lambda run: (run / "summary.json").write_text("[]"), "not a JSON object"),
        (lambda run: (run / "summary.json").write_text("{" * 9999), "summary.json: cannot be read"),
        (lambda run: change(run / "communication.json", clients=[]), "beyond the 0 that there are"),
        (lambda run: change(run / "communication.json", run={}), "communication.json: lacks a val"),
        (
            lambda run: sent_without(run, "against_whole_network"),
            "communication.json: lacks a value",
        ),
        (lambda run: (run / "metrics.csv").write_text("a,b\n1,2\n"), "metrics.csv: "),
        (lambda run: (run / "metrics.csv").write_bytes(b"\xff\xfe\x00"), "metrics.csv: "),
        (lambda run: (run / "metrics.csv").write_text("fold,round\n" + "x" * 200_000), "metrics.c"),
    ],
)
def test_what_no_run_holds_is_one_sentence(
    tmp_path: Path, together: Path, damage: Callable[[Path], object], why: str
) -> None:
    run = shutil.copytree(together, tmp_path / "run")
    damage(run)
    with pytest.raises(UsageError, match=f"run=.*: cannot be used .*{why}.*; give its command aga"):
        report(run, out=tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_metrics_that_are_no_file_are_refused(tmp_path: Path, central: Path) -> None:
    run = shutil.copytree(central, tmp_path / "run")
    (run / "metrics.csv").unlink()
    os.mkfifo(run / "metrics.csv")
    with pytest.raises(UsageError, match=r"metrics.csv: not a regular file"):
        report(run, out=tmp_path / "x.html")


@pytest.mark.parametrize("figure", ["1e999", "9" * 400, "1e300", "-1e300"])
def test_a_loss_beyond_all_measure_is_left_out(tmp_path: Path, central: Path, figure: str) -> None:
    run = shutil.copytree(central, tmp_path / "run")
    rows = metrics(run)
    rows[1]["train_loss"] = figure
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert read_curves(run, job="train")[0].lines["training"].steps == [1, 3]
    told(run)


def test_the_command_says_where_the_page_is(tmp_path: Path, central: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(central), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    assert done.output == f"Report written to {tmp_path / 'r.html'}\n"
    assert Page(tmp_path / "r.html").facts["test clips"] == "12"
    wrong = CliRunner().invoke(app, ["report", str(central), "--out", str(tmp_path / "r.pdf")])
    assert isinstance(wrong.exception, UsageError)
