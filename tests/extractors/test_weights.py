"""Where weights come from: paths, caches, hubs (served here), and what a job says of them."""

import hashlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from kinestore import extractors
from kinestore.extractors.weights import inventory as weights
from kinestore.extractors.weights.sources import (
    HubRepository,
    Url,
    cached,
    fetch,
    find_weights,
    published_sha256,
)
from kinestore.extractors.weights.state_dict import load_frozen, read_state_dict
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.extract_videos import extract
from kinestore.pipeline.extraction.outputs import label_prompt, parse_weights, read_prompts
from kinestore.store import KinestoreError, Source, Store, UsageError
from tests.helpers.networks import randomise
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT


class Hub(BaseHTTPRequestHandler):
    """Serves files as a hub does: large ones announced by their SHA-256."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if (content := self._head()) is not None:
            self.wfile.write(content)

    def _head(self) -> bytes | None:
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A hub of our own and empty caches: its address, and the files that it serves."""
    from huggingface_hub import constants

    files: dict[str, bytes] = {}
    handler = type("OwnHub", (Hub,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        yield address, files
        server.shutdown()


def state_dict_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, buffer)
    return buffer.getvalue()


def test_a_file_of_the_web_is_fetched_once_and_its_name_s_hash_checked(
    hub: tuple[str, dict[str, bytes]],
) -> None:
    address, files = hub
    content = state_dict_bytes()
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    source = Url(f"{address}/{name}")
    assert cached(source) is None
    with pytest.raises(KinestoreError, match=r"weights of r3d: .*cannot be downloaded \(.*404"):
        fetch("r3d", source)
    files[f"/{name}"] = b"something else"
    with pytest.raises(KinestoreError, match="invalid hash value"):
        fetch("r3d", source)
    assert cached(source) is None
    files[f"/{name}"] = content
    fetched = fetch("r3d", source)
    assert fetched.weights.read_bytes() == content
    files.clear()
    assert find_weights("r3d", source, None) == fetched == cached(source)
    assert published_sha256(source, fetched.weights) == hashlib.sha256(content).hexdigest()[:8]


def test_a_hub_s_repository_is_fetched_once_with_the_first_file_that_it_has(
    hub: tuple[str, dict[str, bytes]],
) -> None:
    _, files = hub
    source = HubRepository(repository="owner/net", companions=("vocab.txt",))
    at = "/owner/net/resolve/main/"
    with pytest.raises(KinestoreError, match="cannot be downloaded"):
        fetch("blip", source)
    files[at + "vocab.txt"] = b"[PAD]\n"
    with pytest.raises(KinestoreError, match=r"has no model.safetensors or pytorch_model.bin"):
        fetch("blip", source)
    assert cached(source) is None
    files[at + "pytorch_model.bin"] = state_dict_bytes()
    fetched = find_weights("blip", source, None)
    assert fetched.weights.name == "pytorch_model.bin"
    assert fetched.companions["vocab.txt"].read_bytes() == b"[PAD]\n"
    files.clear()
    assert find_weights("blip", source, None) == fetched
    digest = hashlib.sha256(state_dict_bytes()).hexdigest()
    assert published_sha256(source, fetched.weights) == digest
    assert fetched.settings() == {
        "weights_sha256": digest,
        "vocab.txt_sha256": hashlib.sha256(b"[PAD]\n").hexdigest(),
    }


def test_weights_are_listed_and_a_damaged_file_is_told(
    hub: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, files = hub
    content = state_dict_bytes()
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    files[f"/{name}"] = content
    monkeypatch.setattr("kinestore.extractors.r3d.source", lambda _: Url(f"{address}/{name}"))

    def state(found: list[weights.WeightFileStatus], extractor: str) -> str:
        return next(kept.state for kept in found if kept.extractor == extractor)

    assert state(weights.list_weights(), "r3d") == "missing"
    assert state(weights.list_weights(), "cnn-efficientnet-lite0") == "here"
    (kept,) = weights.fetch_weights(["r3d"])
    assert kept.state == "here" and kept.size_bytes == len(content)
    assert state(weights.verify_weights(), "r3d") == "sound"
    Path(kept.path).write_bytes(content[:-1] + b"!")
    told = weights.verify_weights()
    with pytest.raises(KinestoreError, match=r"net-.*: is not what .*published; delete it"):
        find_weights("r3d", Url(f"{address}/{name}"), None)
    assert state(told, "r3d") == "damaged" and state(told, "cnn-efficientnet-lite0") == "hashed"
    with pytest.raises(UsageError, match="motion: has no published weights"):
        weights.fetch_weights(["motion"])


def test_offline_with_nothing_cached_a_job_stops_in_one_sentence_before_any_video(
    tmp_path: Path,
) -> None:
    (tmp_path / "video.mp4").write_bytes(b"never looked at")
    store = tmp_path / "store"
    command = [sys.executable, "-m", "kinestore", "extract", str(tmp_path / "video.mp4")]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    ran = subprocess.run(
        [*command, "--store", str(store), "-e", "motion", "-e", "blip"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1 and ran.stdout == "" and not store.exists()
    (sentence,) = ran.stderr.splitlines()
    assert sentence.startswith(
        "kinestore: weights of blip: huggingface.co/Salesforce/blip-image-captioning-base is not "
        "cached on this machine and cannot be downloaded ("
    )
    assert "run `kinestore weights fetch blip` and copy " in sentence and "as weights" in sentence


def test_a_folder_or_file_that_was_given_has_what_is_needed(tmp_path: Path) -> None:
    source = HubRepository(repository="owner/net", companions=("vocab.txt",))
    with pytest.raises(UsageError, match="no such file or folder"):
        find_weights("blip", source, tmp_path / "absent")
    with pytest.raises(UsageError, match=r"has no model.safetensors or pytorch_model.bin"):
        find_weights("blip", source, tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(state_dict_bytes())
    with pytest.raises(UsageError, match=r"blip needs the publisher's vocab.txt beside them"):
        find_weights("blip", source, tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    by_folder = find_weights("blip", source, tmp_path)
    assert by_folder == find_weights("blip", source, str(tmp_path / "pytorch_model.bin"))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_weights("blip", source, tmp_path).weights.name == "model.safetensors"
    with pytest.raises(UsageError, match="no weights are published for it"):
        find_weights("cnn-x", None, None)


def test_half_precision_and_wrapped_files_are_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    state = {"weight": torch.ones(2, dtype=torch.float16), "seen": torch.tensor(3)}
    torch.save({"model_state": state, "epoch": 7}, path)
    read = read_state_dict(path)
    assert {key: value.dtype for key, value in read.items()} == {
        "weight": torch.float32,
        "seen": torch.int64,
    }


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("name", ["0.weight", "1.running_mean"])
def test_tensors_that_are_no_floating_point_numbers_are_refused(
    tmp_path: Path, name: str, kind: torch.dtype
) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    torch.save({**state, name: state[name].to(kind)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=rf"w\.pt: '{name}' is of type {kind}, where the network"):
        load_frozen(network, tmp_path / "w.pt", rename=lambda theirs, _: theirs)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty; get the file again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page; download the file itself"),
        (b"<html><body>404</body></html>", "is a web page; download the file itself"),
    ],
)
def test_what_lies_under_the_name_of_weights_is_named(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"weights.pt: {why}"):
        read_state_dict(path)


@pytest.mark.parametrize("name", ["w.bin", "w.pt", "w.SafeTensors"])
def test_a_safetensors_file_is_read_under_any_name(tmp_path: Path, name: str) -> None:
    state = {"a": torch.arange(3.0)}
    save_file(state, tmp_path / name)
    assert read_state_dict(tmp_path / name)["a"].tolist() == [0, 1, 2]


def test_the_command_line_says_whose_weights_they_are() -> None:
    assert parse_weights([], ["slow"]) == {}
    assert parse_weights(["w.pth"], ["slow"]) == {"slow": "w.pth"}
    assert parse_weights(["slow=w.pth"], ["slow"]) == {"slow": "w.pth"}
    both = parse_weights(["slow=a=b.pth", "r3d=c.pth"], ["r3d", "slow"])
    assert both == {"slow": "a=b.pth", "r3d": "c.pth"}
    with pytest.raises(UsageError, match=r"weights w.pth: .*NAME=PATH, with NAME one of r3d, slow"):
        parse_weights(["w.pth"], ["r3d", "slow"])
    with pytest.raises(UsageError, match=r"weights i3d=w\.pth: "):
        parse_weights(["i3d=w.pth"], ["slow"])


def test_prompts_are_made_of_labels_or_read_from_a_file(tmp_path: Path) -> None:
    assert label_prompt("ApplyEyeMakeup") == "a video of a person doing apply eye makeup"
    assert label_prompt("brush_hair") == "a video of a person doing brush hair"
    sources = [Source(uri=f"/{at}", label=label) for at, label in enumerate("bab")]
    assert read_prompts(None, [*sources, Source(uri="/x")]) == (
        label_prompt("a"),
        label_prompt("b"),
    )
    path = tmp_path / "prompts.txt"
    path.write_text("one text\n\n  another \n")
    assert read_prompts(path, sources) == ("one text", "another")
    path.write_text("\n")
    with pytest.raises(UsageError, match=r"prompts.txt: has no text"):
        read_prompts(path, sources)
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "absent", sources)


@pytest.mark.slow
def test_other_weights_make_a_second_view_and_the_same_compute_nothing(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(2):
        make_video(videos / f"{number}.mp4", 12, first=number * 40)
    network: Any = timm.create_model("tf_efficientnet_lite0")
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for seed, path in enumerate(paths):
        torch.save(randomise(network, seed).state_dict(), path)

    def run(path: Path) -> tuple[int, int]:
        name = "cnn-efficientnet-lite0"
        done = extract(
            videos,
            store=tmp_path / "s",
            extractors=[name],
            workers=1,
            config=ExtractionConfig(weights={name: path}),
        )
        return done.num_done, done.num_skipped

    def parts() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / "s" / "views").glob("*/*")
        }

    assert run(paths[0]) == (2, 0)
    first = parts()
    assert run(paths[1]) == (2, 0)
    both = parts()
    assert len(Store(tmp_path / "s").views()) == 2
    assert first.items() < both.items()
    assert run(paths[0]) == (0, 2) and run(paths[1]) == (0, 2)
    assert parts() == both


def test_weights_of_another_extractor_or_of_none_are_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "0.mp4", 4)

    def run(weights: Any) -> None:
        config = ExtractionConfig(weights=weights)
        extract(tmp_path, store=tmp_path / "s", extractors=["motion", "r3d"], config=config)

    with pytest.raises(UsageError, match="weights of 'slow': must be of one of motion, r3d"):
        run({"slow": "w"})
    with pytest.raises(UsageError, match="with several extractors"):
        run("w")
    with pytest.raises(UsageError, match="motion has no weights"):
        run({"motion": "w"})
    assert not (tmp_path / "s").exists()


def test_importing_the_extractors_and_making_motion_loads_no_network_library() -> None:
    code = (
        "import sys, kinestore.extractors as extractors; extractors.create('motion'); "
        "print([m for m in ('torch', 'transformers', 'pytorchvideo', 'timm') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
    code = code.replace("create('motion')", "names()").replace("'torch', ", "")
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_every_name_says_where_its_weights_come_from() -> None:
    networks = [name for name in extractors.names() if name != "motion"]
    for name in networks:
        assert isinstance(extractors.module_of(name).source(name), HubRepository | Url | Path)
    assert str(extractors.module_of("r3d").source("r3d")).endswith("r3d_18-b3b3357e.pth")
    with pytest.raises(UsageError, match="extractor 'cnn-nothing': must be one of"):
        extractors.module_of("cnn-nothing")


def test_a_library_that_is_missing_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pytorchvideo.models.hub", None)
    torch.save({"blocks.5.proj.weight": torch.zeros(4, 2048)}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"pytorchvideo does not load .*pip install pytorchvideo"):
        extractors.create("slow", weights=tmp_path / "w.pth")
