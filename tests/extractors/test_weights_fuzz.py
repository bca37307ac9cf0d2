"""Damaged and hostile files of weights give one sentence, hang nowhere and allocate little."""

import io
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from kinestore.extractors.weights.sources import find_weights
from kinestore.extractors.weights.state_dict import read_state_dict
from kinestore.heads import create
from kinestore.heads._resnet import residual_network
from kinestore.store import UsageError
from tests.helpers.damage import Damage, damaged, damages
from tests.helpers.fuzzing import MANY_EXAMPLES
from tests.helpers.paths import ROOT

STATE = OrderedDict(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).state_dict())


def torch_bytes(value: Any, *, as_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=as_zip)
    return buffer.getvalue()


FILES = {
    "zip.pt": torch_bytes(STATE),
    "wrapped.ckpt": torch_bytes({"state_dict": STATE, "epoch": 3}),
    "early.pth": torch_bytes(STATE, as_zip=False),
    "net.safetensors": save(dict(STATE)),
}


def sentence(path: Path) -> str | None:
    """Return the message with which a file is refused, or None if it is read."""
    try:
        read_state_dict(path)
    except UsageError as error:
        return str(error)
    return None


def check_sentence(text: str) -> None:
    assert text.startswith("weights ") and len(text) < 600
    assert text.isprintable() and "\x1b" not in text
    assert "weights_only" not in text


def check_damaged(name: str, changes: list[Damage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(damaged(FILES[name], changes))
        if (text := sentence(path)) is not None:
            check_sentence(text)


FUZZ: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
}


@settings(max_examples=200, **FUZZ)
@given(name=st.sampled_from(sorted(FILES)), changes=damages())
def test_damaged_weights_are_read_or_refused_in_one_sentence(
    name: str, changes: list[Damage]
) -> None:
    check_damaged(name, changes)


@pytest.mark.slow
@settings(max_examples=MANY_EXAMPLES, **FUZZ)
@given(name=st.sampled_from(sorted(FILES)), changes=damages())
def test_many_damaged_weights_are_read_or_refused(name: str, changes: list[Damage]) -> None:
    check_damaged(name, changes)


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([torch.ones(2), torch.ones(1).expand(1 << 20, 1 << 20), torch.tensor(1j)])
    | st.sampled_from([torch.float32, torch.Size([2]), torch.ones(2).to_sparse()]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["state_dict", "model", "module.a", "w", "\x1b[31mred"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=100, **FUZZ)
@given(value=ODD)
def test_other_objects_than_tensors_are_refused_in_one_sentence(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.pt"
        path.write_bytes(torch_bytes(value))
        if (text := sentence(path)) is not None:
            check_sentence(text)


def bomb() -> bytes:
    """Return a file of some kilobytes whose tensor is 64 MB of compressed zeros."""
    whole = torch_bytes({"w": torch.zeros(1 << 24)})
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    return packed.getvalue()


class Evil:
    """Makes a folder if it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __reduce__(self) -> Any:
        return os.system, (f"mkdir '{self._folder}'",)


HOSTILE: dict[str, Any] = {
    "a NumPy number beside": {"state_dict": STATE, "best": np.float64(0.7)},
    "arguments beside": {"state_dict": STATE, "args": Namespace(lr=0.1)},
    "a whole module": nn.Linear(2, 2),
    "an expanded tensor": {"w": torch.ones(1).expand(1 << 20, 1 << 20)},
    "an expanded half": {"w": torch.ones(1, dtype=torch.float16).expand(1 << 30)},
    "overlapping windows": {"w": torch.ones(1000).unfold(0, 500, 1)},
    "one tensor by many names": {f"w{n}": torch.ones(5000)[:] for n in range(1)}
    | dict.fromkeys([f"v{n}" for n in range(4000)], torch.ones(5000)),
    "a meta tensor": {"w": torch.empty(1 << 40, device="meta")},
    "a sparse tensor": {"w": torch.ones(2).to_sparse()},
    "a list": [torch.ones(2)],
    "a number": {"w": torch.ones(2), "epoch": 3},
    "numbers as names": {1: torch.ones(2)},
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("as_zip", [True, False])
def test_what_is_no_state_dict_is_named(tmp_path: Path, kind: str, as_zip: bool) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(torch_bytes(HOSTILE[kind], as_zip=as_zip))
    text = sentence(path)
    assert text is not None
    check_sentence(text)
    cause = {"a NumPy number beside": "scalar", "arguments beside": "argparse.Namespace"}
    assert cause.get(kind, "") in text


def test_a_zip_bomb_and_code_are_refused(tmp_path: Path) -> None:
    evil = Evil(tmp_path / "made")
    for name, content, message in [
        ("bomb.pt", bomb(), "claim more bytes than it has"),
        ("evil.pt", pickle.dumps(evil), "not a state dict of tensors"),
        ("evil.pt", torch_bytes({"w": evil}), r"GLOBAL posix\.system"),
        ("empty.pt", b"", "is empty; get the file again"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=message):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_a_recursive_dictionary_ends(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    (tmp_path / "loop.pt").write_bytes(torch_bytes(loop))
    with pytest.raises(UsageError, match="'model' is a dict"):
        read_state_dict(tmp_path / "loop.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_pipes_devices_folders_and_loops_of_links_do_not_hang(tmp_path: Path, suffix: str) -> None:
    pipe, loop, folder = (tmp_path / f"{name}{suffix}" for name in ("pipe", "loop", "folder"))
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    folder.mkdir()
    device = tmp_path / f"zero{suffix}"
    device.symlink_to("/dev/zero")
    for path in (pipe, device, folder, loop, tmp_path / f"nul\0{suffix}"):
        with pytest.raises(UsageError, match=r"must be a file, and no folder|not a state"):
            read_state_dict(path)
    for path in (pipe, device, loop):
        with pytest.raises(UsageError, match=r"must be a file or a folder|cannot be opened"):
            find_weights("slow", None, path)


def test_reading_hostile_files_takes_little_memory(tmp_path: Path) -> None:
    names = []
    for number, kind in enumerate(("an expanded half", "an expanded tensor", "a meta tensor")):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(torch_bytes(HOSTILE[kind]))
        names.append(str(path))
    (tmp_path / "bomb.pt").write_bytes(bomb())
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from kinestore.extractors.weights.state_dict import read_state_dict\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = most()\n"
        "for name in sys.argv[1:]:\n"
        "    try: read_state_dict(Path(name))\n"
        "    except ValueError: pass\n"
        "    else: sys.exit('read')\n"
        "print((most() - before) // 1024)"
    )
    command = [sys.executable, "-c", code, *names, str(tmp_path / "bomb.pt")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 32  # MB; the tensors claim 4 TB, 2 GB and 64 MB


def trunk_state() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = residual_network(layers=(1, 1, 1, 1), width=16).state_dict()
    return state


def renamed(state: dict[str, torch.Tensor], prefix: str, top: str) -> dict[str, torch.Tensor]:
    return {
        (top + key.removeprefix("fc") if key.startswith("fc") else prefix + key): value
        for key, value in state.items()
    }


LAYOUTS: dict[str, Any] = {
    "model": lambda s: {"model": s, "epoch": 3},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer": {}},
    "distributed": lambda s: {"state_dict": renamed(s, "module.", "module.fc")},
    "compiled": lambda s: {"net": renamed(s, "_orig_mod.", "_orig_mod.fc")},
    "distributed and compiled": lambda s: renamed(s, "module._orig_mod.", "module._orig_mod.fc"),
    "TSN": lambda s: {"state_dict": renamed(s, "module.base_model.", "module.new_fc")},
    "MMAction2": lambda s: {"meta": {}, "state_dict": renamed(s, "backbone.", "cls_head.fc_cls")},
    "Lightning": lambda s: {"state_dict": renamed(s, "model.", "model.fc"), "lr": 0.1},
    "running mean alone": lambda s: {"state_dict_ema": s, "epoch": 1},
    "no classifier": lambda s: {k: v for k, v in s.items() if not k.startswith("fc")},
    "early torch": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_backbones_load_from_the_layouts_of_training_scripts(tmp_path: Path, layout: str) -> None:
    state, path = trunk_state(), tmp_path / "trunk.pth"
    torch.save(LAYOUTS[layout](state), path)
    settings: dict[str, Any] = {"num_classes": 3, "seed": 0, "layers": (1, 1, 1, 1), "width": 16}
    net = create("correlation", weights=path, **settings).state_dict()
    conv = state["layer4.0.conv2.weight"]
    assert any(torch.equal(value, conv) for value in net.values() if value.shape == conv.shape)


def test_a_backbone_with_other_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trunk.pth"
    for extra in ("layer1.1.conv1.weight", "neck.weight", "backbone.bn1.weight"):
        torch.save({**trunk_state(), extra: torch.ones(2)}, path)
        with pytest.raises(UsageError, match=f"do not fit the network: .*{extra}"):
            create(
                "correlation", num_classes=3, seed=0, layers=(1, 1, 1, 1), width=16, weights=path
            )
