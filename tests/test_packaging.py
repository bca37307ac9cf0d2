"""What is installed, what imports what, and that the facade names exist."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import typing
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import kinestore
from kinestore.pipeline.synthetic.motion_videos import make_clips
from tests.helpers.paths import ROOT

PACKAGES = ("pipeline", "federated", "extractors", "heads", "store")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_no_package_imports_the_facade() -> None:
    for package in PACKAGES:
        for path in (ROOT / "kinestore" / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module == "kinestore":
                    names += [f"kinestore.{a.name}" for a in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names.append(node.module or "")
                tops = {name.partition(".")[0] for name in names}
                assert not tops & {*PACKAGES}, f"{path}: {tops} must be kinestore.*"
                ours = {name.partition(".")[2] for name in names if name.startswith("kinestore")}
                assert {name.partition(".")[0] for name in ours} <= {
                    *PACKAGES,
                    "progress",
                    "samplers",
                }, path


@pytest.mark.parametrize("name", kinestore.__all__)
def test_facade_names_resolve(name: str) -> None:
    value = getattr(kinestore, name)
    assert name.isupper() or value.__name__ == name


def _classes(annotation: object) -> Iterator[type]:
    """Classes of Kinestore that an annotation names."""
    if isinstance(annotation, type) and annotation.__module__.startswith("kinestore"):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _classes(inner)


def test_what_a_public_function_takes_and_returns_is_public() -> None:
    public = [getattr(kinestore, name) for name in kinestore.__all__]
    for function in filter(inspect.isfunction, [*public, kinestore.Store.take_snapshot]):
        for hint in typing.get_type_hints(function).values():
            for used in _classes(hint):
                assert used in public, f"{function.__name__} has a {used.__name__}: export it"


def test_help_is_quick_because_it_loads_no_network() -> None:
    code = "import sys, kinestore; print({'torch', 'dask', 'umap', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, links as links, in which packages can be built."""
    copy = tmp_path_factory.mktemp("source") / "kinestore"
    skipped = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=skipped, symlinks=True)
    return copy


def _files_of_the_package() -> list[str]:
    """Every file of kinestore/ that is installed, sorted."""
    files = (path for path in (ROOT / "kinestore").rglob("*") if path.is_file())
    return sorted(
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix == ".py" or path.parent.name == "assets" or path.name == "py.typed"
    )


def test_the_wheel_holds_each_file_of_kinestore_once(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    assert sorted(names) == _files_of_the_package()


def test_the_sdist_holds_each_file_of_kinestore_once(source: Path, tmp_path: Path) -> None:
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = [member.name.partition("/")[2] for member in file if member.isfile()]
    folders = [name for name in names if "/" in name and not name.startswith("kinestore.egg-info")]
    assert sorted(folders) == _files_of_the_package()


def test_links_at_top_level_lead_to_the_five_packages() -> None:
    for package in PACKAGES:
        assert (ROOT / package).is_symlink(), package
        assert (ROOT / package).readlink() == Path("kinestore") / package


SCRIPT = """\
import sys
import kinestore as ks

if __name__ == "__main__":
    ks.extract("clips/labels.csv", store="kept", extractors=["motion"], workers=1)
    clips = ks.Store("kept").load("motion")
    ks.train(clips, out="central")
    two = ks.FederationConfig(num_clients=2, rounds=1)
    ks.federate(clips, out="federated-run", federation=two)
    assert not {"store", "pipeline", "heads", "federated", "extractors"} & {*sys.modules}
"""


def test_a_users_own_modules_of_the_same_names_are_left_alone(tmp_path: Path) -> None:
    make_clips(tmp_path / "clips", num_clips=12)
    for package in PACKAGES:  # would end whichever process imports it: the script or a Dask worker
        (tmp_path / f"{package}.py").write_text("raise SystemExit('a file of the user')\n")
    (tmp_path / "job.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_constraints_name_a_version_of_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    pinned = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
    for requirement in wanted:
        name = requirement.lower().partition(">")[0].partition("=")[0].partition("[")[0]
        assert name in pinned, f"{name} has no tested version in constraints.txt"


@pytest.mark.parametrize(
    "module", ["decode", "extract", "extraction.process_shard", "extraction.supervisor"]
)
def test_reading_video_and_the_job_around_it_do_not_load_torch(module: str) -> None:
    code = (
        f"import sys, kinestore.pipeline.{module}; "
        "sys.exit(bool({'torch', 'timm'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("kinestore")
    imports = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    done: set[str] = set()
    while ready := {m for m, needed in imports.items() if needed <= done} - done:
        done |= ready
    assert sorted(imports.keys() - done) == []


def test_no_package_imports_a_private_module_of_another() -> None:
    graph = grimp.build_graph("kinestore")
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            parts = imported.split(".")
            is_private = any(part.startswith("_") and part != "__main__" for part in parts)
            assert not is_private or parts[1] == module.split(".")[1], f"{module}: {imported}"


def test_the_command_tells_its_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = [sys.executable, "-m", "kinestore", "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert said == f"kinestore {declared}\n"
