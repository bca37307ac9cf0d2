"""Everything that is written is there whole, or as it was before, when a disk is full."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kinestore as ks
from kinestore.extractors.weights.sources import Url, fetch
from kinestore.pipeline.explain.overlay import OverlayFrames, draw_overlay
from kinestore.pipeline.explorer import write_explorer
from kinestore.pipeline.export import export
from kinestore.pipeline.previews.contact_sheet import contact_sheet
from kinestore.pipeline.synthetic.motion_videos import write_video
from kinestore.pipeline.system_errors import describe_error
from tests.helpers.explored import twelve_clips
from tests.helpers.jobs import federate, train
from tests.helpers.mapped import draw, labelled, make
from tests.helpers.stored import small_disk
from tests.helpers.trained import SHORT, clips


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    return write_video(tmp_path_factory.mktemp("videos") / "x", frames)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "done"
    train(clips(), out=out, settings=SHORT)
    return out


OVERLAY = OverlayFrames(
    title="run 0.9",
    subtitle="Grad-CAM",
    pictures=np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8),
    maps=np.full((1, 64, 64), 0.5, np.float32),
    numbers=[0],
    times_s=[0.0],
    peak=None,
)

WRITERS: dict[str, Callable[[Path, Path, Path], object]] = {
    "map.png": lambda out, video, run: draw(labelled(["a", "b"], 40), out),
    "map.pdf": lambda out, video, run: draw(labelled(["a", "b"], 40), out),
    "explorer.html": lambda out, video, run: write_explorer(twelve_clips(), out),
    "report.html": lambda out, video, run: ks.report(run, out=out),
    "explained.png": lambda out, video, run: draw_overlay(out, OVERLAY),
    "explained.gif": lambda out, video, run: draw_overlay(out, OVERLAY),
    "keyframes.png": lambda out, video, run: contact_sheet(video, out=out, num_keyframes=3),
    "x.h5": lambda out, video, run: export(make(range(400)), out=out),
    "x.npz": lambda out, video, run: export(make(range(400)), out=out),
    "x.parquet": lambda out, video, run: export(make(range(400)), out=out),
    "clip.mp4": lambda out, video, run: write_video(
        out.with_suffix(""), np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_an_earlier_file_stays_where_the_new_one_does_not_fit(
    name: str, video: Path, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / name
    WRITERS[name](out, video, run)
    made = contents(out.parent)
    out.write_text("before")
    for num_bytes in (10, len(made[name]) - 1):
        with small_disk(num_bytes), pytest.raises(OSError, match="large") as caught:
            WRITERS[name](out, video, run)
        assert describe_error(caught.value).startswith(f"{out}: the file would be larger than")
        assert contents(out.parent) == {name: b"before"}
    WRITERS[name](out, video, run)
    assert contents(out.parent).keys() == {name}


@pytest.mark.parametrize(
    ("job", "num_bytes"), [(train, 0), (train, 600), (train, 20_000), (federate, 4000)]
)
def test_a_run_that_a_full_disk_stopped_is_done_again_to_the_same_bytes(
    job: Callable[..., object], num_bytes: int, tmp_path: Path
) -> None:
    settings = {"rounds": 2, "clients": 2, "checkpoint_every": 1, "settings": SHORT}
    if job is train:
        settings = {"settings": SHORT}
    job(clips(), out=tmp_path / "undisturbed", **settings)
    whole = contents(tmp_path / "undisturbed")
    out = tmp_path / "run"
    with small_disk(num_bytes), pytest.raises(OSError, match="large") as caught:
        job(clips(), out=out, **settings)
    assert describe_error(caught.value).startswith(f"{out}/")
    left = contents(out)
    varying = {"metrics.csv", "summary.json"}  # they hold seconds
    if job is federate:
        varying.add("state-0.safetensors")  # likewise, of each round
    assert "summary.json" not in left and not [name for name in left if ".part-" in name]
    for name in left.keys() & whole.keys() - varying:
        assert left[name] == whole[name]
    job(clips(), out=out, **settings, resume=True)
    again = contents(out)
    assert again.keys() == whole.keys()
    assert [n for n in whole.keys() - varying if again[n] != whole[n]] == []


def test_a_run_folder_with_what_a_killed_job_left_unfinished_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".part-00000000-0123.json").write_text("{")  # of another machine
    train(clips(), out=tmp_path / "run", settings=SHORT)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ks.UsageError, match="no run"):
        train(clips(), out=tmp_path / "other", settings=SHORT)


def test_weights_that_do_not_fit_name_the_cache_and_not_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "net.pth"
    source.write_bytes(bytes(100_000))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with small_disk(5000), pytest.raises(OSError, match="large") as caught:
        fetch("net", Url(source.as_uri()))
    assert describe_error(caught.value).startswith(f"{tmp_path}/cache")
    assert not [name for name in contents(tmp_path) if name.startswith("cache")]
