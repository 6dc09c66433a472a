"""The package as a whole: it imports, it can be installed, and everything that it needs comes with it."""

from __future__ import annotations

import io
import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

import fedstrata

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "fedstrata"
MODULES = sorted(m.name for m in pkgutil.walk_packages(fedstrata.__path__, "fedstrata."))


def test_every_module_imports() -> None:
    names = [name for name in MODULES if name != "fedstrata.__main__"]
    assert len(names) > 400
    assert [import_module(name).__name__ for name in names] == names


def test_every_folder_of_source_is_a_package() -> None:
    folders = {p.parent for p in PACKAGE.rglob("*.py")}
    assert [str(f) for f in folders if not (f / "__init__.py").is_file()] == []


def test_the_console_script_exists() -> None:
    (script,) = entry_points(group="console_scripts", name="fedstrata")
    assert callable(script.load())


def test_the_surface_is_sorted_and_complete() -> None:
    assert fedstrata.__all__ == sorted(fedstrata.__all__)
    for name in fedstrata.__all__:
        assert getattr(fedstrata, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fedstrata' has no attribute 'rnu'"):
        _ = fedstrata.rnu


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core, extras = project["dependencies"], project["optional-dependencies"]
    over_flower = [path for path in PACKAGE.rglob("*.py") if "flower" in path.parent.parts]
    adapted = [PACKAGE / "models" / "lora.py"]
    over_ray = [p for p in PACKAGE.rglob("*.py") if "import ray" in p.read_text() and p not in over_flower]
    others = [path for path in PACKAGE.rglob("*.py") if path not in (*over_flower, *adapted, *over_ray)]
    assert undeclared(others, " ".join(core)) == []
    assert undeclared(over_ray, " ".join([*core, *extras["ray"]])) == []
    assert undeclared(adapted, " ".join([*core, *extras["lora"]])) == []
    assert undeclared(over_flower, " ".join([*core, *extras["flower"], *extras["simulation"]])) == []


def undeclared(files: list[Path], declared: str) -> list[str]:
    """Return what files import and requirements do not name."""
    renamed = {
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
        "PIL": "pillow",
        "pyarrow": "datasets",
        "click": "typer",
        "markupsafe": "jinja2",
        "pydantic_core": "pydantic",
    }
    used = set()
    for path in files:
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ("import", "from") and not words[1].startswith("."):
                used.add(words[1].split(".")[0].rstrip(","))
    foreign = {u for u in used if u not in sys.stdlib_module_names and u.isidentifier() and find_spec(u)} - {
        "fedstrata"
    }
    return sorted(u for u in foreign if renamed.get(u, u).replace("_", "-") not in declared)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the built wheel."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--quiet", "-w", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (built,) = out.glob("fedstrata-*.whl")
    return zipfile.ZipFile(io.BytesIO(built.read_bytes()))


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    files = {
        str(p.relative_to(ROOT / "src"))
        for p in PACKAGE.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")
    }
    assert sorted(files - set(wheel.namelist())) == []


@pytest.mark.parametrize(
    "end",
    ["vit-digits/config.json", "vit-digits/model.safetensors", "fedstrata/py.typed", "report/templates/report.html.j2"],
)
def test_the_wheel_holds_the_data_that_the_package_reads(wheel: zipfile.ZipFile, end: str) -> None:
    assert [n for n in wheel.namelist() if n.startswith("fedstrata/") and n.endswith(end)]


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {n.split("/")[0].split("-")[0] for n in wheel.namelist()} == {"fedstrata"}
