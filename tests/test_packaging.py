"""What is installed, what imports what, and that the facade names exist."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import kinestore

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "federated", "extractors", "heads", "store")


def test_no_package_imports_the_facade() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert "kinestore" not in {name.partition(".")[0] for name in names}, path


@pytest.mark.parametrize("name", kinestore.__all__)
def test_facade_names_resolve(name: str) -> None:
    assert getattr(kinestore, name).__name__ == name


def test_help_is_quick_because_it_loads_no_network() -> None:
    code = "import sys, kinestore; print({'torch', 'dask', 'umap', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


def test_the_wheel_holds_the_five_packages_and_the_facade(tmp_path: Path) -> None:
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    expected = {"kinestore.py"}
    for package in PACKAGES:
        inside = (ROOT / package).rglob("*")
        expected |= {
            str(path.relative_to(ROOT))
            for path in inside
            if path.suffix == ".py" or path.name == "py.typed" or path.parent.name == "assets"
        }
    assert set(names) == expected and all(f"{p}/py.typed" in expected for p in PACKAGES)


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


@pytest.mark.parametrize("module", ["decode", "extract", "worker", "keeper"])
def test_reading_video_and_the_job_around_it_do_not_load_torch(module: str) -> None:
    code = (
        f"import sys, pipeline.{module}; sys.exit(bool({{'torch', 'timm'}} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_command_tells_its_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = [sys.executable, "-m", "kinestore", "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert said == f"kinestore {declared}\n"
