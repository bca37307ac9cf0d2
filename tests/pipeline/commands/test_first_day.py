"""What a newcomer sees: progress in a log, finished runs kept, changes reported, answers as CSV."""

import csv
import io
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.commands.tables import say_extraction
from kinestore.pipeline.extraction.relabeling import notes_on_relabeling
from kinestore.pipeline.extraction.result import summarize
from kinestore.progress import LinesOfProgress
from kinestore.store import Store, UsageError
from tests.helpers.embedded import embedded_store
from tests.helpers.stored import clip, filled


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return embedded_store(tmp_path_factory.mktemp("embedded") / "store")


def invoke(*asked: object) -> str:
    done = CliRunner().invoke(app, list(map(str, asked)), catch_exceptions=False)
    return str(done.stdout)


def lines_after(*calls: tuple[str, int, int, str], wait_s: float = 0.25) -> list[str]:
    lines: list[str] = []
    with LinesOfProgress(lines.append, interval_s=0.1) as shown:
        for call in calls:
            shown(*call)
            time.sleep(wait_s)
    return lines


def test_a_log_gets_a_line_at_each_interval_even_if_nothing_advances() -> None:
    lines = lines_after(("extracting", 0, 40, ""), wait_s=0.35)
    assert 2 <= len(lines) <= 4 and set(lines) == {"extracting: 0 of 40"}


def test_a_line_has_rate_time_left_and_failures() -> None:
    lines = lines_after(("extracting", 0, 4000, ""), ("extracting", 100, 4000, "3 failed"))
    assert re.fullmatch(r"extracting: 100 of 4,000, [\d.]+/s, \d+ s left, 3 failed", lines[-1]), (
        lines
    )


def test_a_new_stage_starts_its_own_rate() -> None:
    assert lines_after(("hashing", 9, 9, ""), ("rounds", 1, 8, "accuracy 0.5"))[-1] == (
        "rounds: 1 of 8, accuracy 0.5"
    )


def test_a_short_job_writes_no_line(store: Store, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["verify", str(store.path)], catch_exceptions=False)
    assert done.stderr == ""


JOBS: dict[str, list[object]] = {
    "train": ["--epochs", 1],
    "federate": ["--rounds", 1, "--local-epochs", 1, "--clients", 2, "--device", "cpu"],
}


@pytest.mark.parametrize("job", JOBS)
def test_a_finished_run_is_replaced_only_with_overwrite(
    job: str, store: Store, tmp_path: Path
) -> None:
    asked = [job, store.path, "--features", "vector", "--out", tmp_path / "run", *JOBS[job]]
    invoke(*asked)
    kept = (tmp_path / "run/model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="is a finished run; give --overwrite to replace it"):
        invoke(*asked, "--seed", 1)
    assert (tmp_path / "run/model.safetensors").read_bytes() == kept
    invoke(*asked, "--resume")
    invoke(*asked, "--seed", 1, "--overwrite")
    assert (tmp_path / "run/model.safetensors").read_bytes() != kept


def test_finished_repeats_are_replaced_only_with_overwrite(store: Store, tmp_path: Path) -> None:
    asked = ["train", store.path, "--features", "vector", "--epochs", 1, "--repeats", 2]
    invoke(*asked, "--out", tmp_path / "runs")
    with pytest.raises(UsageError, match="repeat-0: is a finished run"):
        invoke(*asked, "--out", tmp_path / "runs")


def test_an_unfinished_run_is_started_again_without_a_word(store: Store, tmp_path: Path) -> None:
    asked = ["train", store.path, "--features", "vector", "--epochs", 1, "--out", tmp_path / "run"]
    invoke(*asked)
    (tmp_path / "run/summary.json").unlink()
    assert "top1" in invoke(*asked)


def test_answers_as_csv_are_whole_and_no_formulas(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "s")
    made.append_clips([clip("a", label="=1+1", group="x" * 200), clip("b", label='say "a, b"')])
    query = 'SELECT clip_id, label, "group", [1, 2] AS l, 1 AS n FROM clips ORDER BY clip_id'
    rows = list(csv.reader(io.StringIO(invoke("sql", made.path, query, "--csv"))))
    assert rows == [
        ["clip_id", "label", "group", "l", "n"],
        ["a", "'=1+1", "x" * 200, "[1, 2]", "1"],
        ["b", 'say "a, b"', "", "[1, 2]", "1"],
    ]
    with pytest.raises(UsageError, match="--csv and --json: give one of them"):
        invoke("sql", made.path, query, "--csv", "--json")


def test_relabeling_names_what_changes(tmp_path: Path) -> None:
    known = filled(str(tmp_path / "s"))
    changed = [
        clip("a", label="walk", split="train", extra={"camera": "left"}),  # type: ignore[arg-type]
        clip("b", label=None, group="g"),
        clip("new", label="run"),
    ]
    notes = list(notes_on_relabeling(changed, known))
    assert [note.partition(": ")[2] for note in notes] == [
        "videos whose label changes: 2 ('run' to 'walk' of /videos/a.avi, "
        "'sit' to none of /videos/b.avi)",
        "videos whose group changes: 1 (none to 'g' of /videos/b.avi)",
        "videos whose camera changes: 1 (none to 'left' of /videos/a.avi)",
    ]
    assert not list(notes_on_relabeling([], known))


def test_own_columns_that_a_job_does_not_name_are_named_as_changing(tmp_path: Path) -> None:
    known = Store.create(tmp_path / "s")
    known.append_clips([clip("a", label="run", extra={"camera": "left"})])  # type: ignore[arg-type]
    (note,) = notes_on_relabeling([clip("a", label="run")], known)
    assert note.partition(": ")[2] == (
        "videos whose camera changes: 1 ('left' to none of /videos/a.avi)"
    )


@pytest.mark.parametrize(("labels", "warned"), [({"": 3}, True), ({"run": 1, "": 2}, False)])
def test_videos_without_any_label_are_warned_of(
    labels: dict[str, int], warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"num_done": 3, "num_skipped": 0, "num_failed": 0, "num_workers": 1}
    result = summarize(tmp_path, [], seconds=1.0, specs={}, **counts)
    object.__setattr__(result, "num_by_label", labels)
    say_extraction(result)
    assert ("No video has a label" in capsys.readouterr().out) == warned
