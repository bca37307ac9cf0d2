"""What colours stand for: a run's clients, the extractors of a plane, and classes by any name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from kinestore.__main__ import app
from kinestore.pipeline.projection import UmapConfig, umap
from kinestore.pipeline.projection.color_by import point_columns
from kinestore.pipeline.projection.quality import measure
from kinestore.pipeline.projection.reducer import project, standardize
from kinestore.pipeline.runs.client_partition import read_client_partition
from kinestore.store import Features, Store, UsageError
from tests.helpers.jobs import federate, train
from tests.helpers.mapped import add_clips, legend_words, make, num_points, watch, words
from tests.helpers.trained import SHORT


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return watch(monkeypatch)


def answer(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["umap", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


# Clients.


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A store of 48 clips and a run that assigned the first 40 of them to three clients."""
    folder = tmp_path_factory.mktemp("federated")
    store = add_clips(folder / "store", range(40))
    federate(store.load("a"), out=folder / "run", clients=3, rounds=1, settings=SHORT)
    add_clips(store.path, range(40, 48))
    return store, folder / "run"


def test_clients_are_those_of_the_partition(
    federated: tuple[Store, Path], figures: list[Figure], tmp_path: Path
) -> None:
    store, run = federated
    out = tmp_path / "map.svg"
    job = (store.path, "--features", "a", "--out", out, "--color", "client", "--run", run)
    assert "Map of 48 clips written to" in answer(*job)
    partition = read_client_partition(run)
    assert legend_words(figures[0]) == ["(no client)", "client 0", "client 1", "client 2"]
    counts = [list(partition.values()).count(client) for client in range(3)]
    expected = [48 - len(partition), *counts]
    assert [np.asarray(line.get_xydata()).shape[0] for line in figures[0].axes[0].lines] == expected
    assert "48 clips by client" in words(figures[0])


def test_more_than_ten_clients_are_in_the_order_of_their_numbers() -> None:
    clients = {f"{row:032x}": row for row in range(12)}
    names = point_columns([make(range(13))], clients=clients, with_extractors=False)["client"]
    assert names[:2] == ["client 00", "client 01"] and names[11:] == ["client 11", None]
    few = point_columns([make(range(2))], clients={f"{0:032x}": 3}, with_extractors=False)
    assert few["client"] == ["client 3", None]
    assert "client" not in point_columns([make(range(2))], clients=None, with_extractors=False)


def test_clients_want_a_federated_run(tmp_path: Path) -> None:
    features = make(range(24))
    with pytest.raises(UsageError, match="color='client': needs run, the folder of a federated"):
        umap(features, out=tmp_path / "map.png", config=UmapConfig(color="client"))
    with pytest.raises(UsageError, match="is no run folder"):
        umap(features, run=tmp_path, out=tmp_path / "map.png", config=UmapConfig(color="client"))
    with pytest.raises(UsageError, match="is no run folder"):
        umap(features, run=tmp_path / "absent", out=tmp_path / "map.png")
    train(features, out=tmp_path / "run", folds=2, settings=SHORT)
    with pytest.raises(UsageError, match="is not federated and has no clients"):
        umap(
            features,
            run=tmp_path / "run",
            out=tmp_path / "map.png",
            config=UmapConfig(color="client"),
        )
    assert not (tmp_path / "map.png").exists()


# Extractors.


def test_extractors_share_a_plane_with_a_point_for_each_clip_and_feature(
    figures: list[Figure], tmp_path: Path
) -> None:
    first, second = make(range(20), name="slow"), make(range(2, 24), name="blip", seed=1)
    drawn = umap([first, second], out=tmp_path / "map.png", config=UmapConfig(color="extractor"))
    assert (drawn.num_clips, drawn.num_left_out, drawn.num_measured) == (18, 6, 36)
    assert legend_words(figures[0]) == ["blip", "slow"] and len(figures[0].axes) == 1
    axes = figures[0].axes[0]
    assert num_points(axes) == 36
    blocks = [first.features[2:], second.features[:18]]
    points = project(*blocks, seed=0)
    shown = [line.get_xydata() for line in axes.lines]
    np.testing.assert_array_equal(shown[0], points[18:])  # blip was asked for second
    np.testing.assert_array_equal(shown[1], points[:18])
    labels = np.repeat([0, 1], 18)
    assert drawn.panels[0].quality == measure(standardize(*blocks), points, labels, seed=0)
    told = "\n".join(words(figures[0])).replace("\n", " ")
    assert "slow, blip" in told and "18 clips by extractor" in told
    assert "slow@0123456789abcdef, blip@0123456789abcdef, 6 features each" in told
    assert "silhouette of the extractors" in told and "36" not in told


def test_each_feature_is_standardized_by_itself() -> None:
    # 0, 2 and 10, 30 both become -1, 1; what varies in one feature alone stays, at 0 elsewhere.
    one = np.array([[0, 5], [2, 5]], dtype=np.float32)
    other = np.array([[10, 1], [30, 3]], dtype=np.float32)
    assert standardize(one, other).tolist() == [[-1, 0], [1, 0], [-1, -1], [1, 1]]
    constant = np.full((2, 1), 7, dtype=np.float32)
    wide = [np.concatenate([some, constant], axis=1) for some in (one, other)]
    assert standardize(*wide).tolist() == standardize(one, other).tolist()


def test_two_pools_of_a_view_are_told_apart(figures: list[Figure], tmp_path: Path) -> None:
    joined = replace(make(range(12)), views=["made@0123456789abcdef", "b@00112233aabbccdd"])
    features = [make(range(12)), make(range(12), seed=1), joined]
    umap(features, out=tmp_path / "map.png", config=UmapConfig(color="extractor"))
    assert legend_words(figures[0]) == ["made (1)", "made (2)", "made + b"]


def test_extractors_of_other_widths_are_a_sentence(tmp_path: Path) -> None:
    features = [make(range(12), name="slow"), make(range(12), name="blip", width=9)]
    message = "one plane takes features of one width, but slow has 6, blip has 9; leave one out"
    with pytest.raises(UsageError, match=message):
        umap(features, out=tmp_path / "map.png", config=UmapConfig(color="extractor"))


def test_a_plane_of_extractors_is_kept_and_grows(tmp_path: Path) -> None:
    store = add_clips(tmp_path / "store", range(24), views=["a", "b"])

    def both() -> list[Features]:
        return [store.load("a"), store.load("b")]

    told = {"config": UmapConfig(color="extractor"), "store": store, "out": tmp_path / "map.png"}
    first = umap(both(), **told)  # type: ignore[arg-type]
    again = first.path.read_bytes()
    assert umap(both(), **told).path.read_bytes() == again  # type: ignore[arg-type]
    assert umap(both(), **told | {"store": None}).path.read_bytes() == again  # type: ignore[arg-type]
    add_clips(store.path, [24, 25], views=["a", "b"])
    grown = umap(both(), **told)  # type: ignore[arg-type]
    assert grown.caption.endswith("; 2 clips placed into a layout of 24")
    assert (grown.panels[0].num_placed, grown.panels[0].num_points) == (2, 52)


# Classes on the command line.


def test_a_class_with_commas_is_named_whole_and_options_repeat(
    figures: list[Figure], tmp_path: Path
) -> None:
    from tests.helpers.stored import clip

    labels = ["a", "b", "a,b", "c, d", 'say "no"']
    store = add_clips(tmp_path / "store", range(25))
    store.append_clips(
        [
            clip(f"{row:032x}", uri=f"/v/{row}.avi", label=labels[row % len(labels)])
            for row in range(25)
        ]
    )
    job = (store.path, "--features", "a", "--out", tmp_path / "map.png", "--json")

    def drawn(*classes: str) -> list[str]:
        told = json.loads(answer(*job, *(part for one in classes for part in ("--classes", one))))
        shown = legend_words(figures[-1])
        assert told["num_clips"] == 5 * len(shown)
        return shown

    assert drawn("a,b") == ["a,b"]
    assert drawn("a", "b") == ["a", "b"]
    assert drawn("b,a") == ["a", "b"]  # no label: several
    assert drawn("c, d", 'say "no",a') == ["a", "c, d", 'say "no"']
    with pytest.raises(UsageError, match="no clip of label 'x'"):
        answer(*job, "--classes", "a,x")
