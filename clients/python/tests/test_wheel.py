"""The installed package: the wheel contains the module, and a server can load it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

import pytest
import taskslot
from harness.server import MODULE, ROOT
from taskslot import module

PACKAGE = ROOT / "clients/python"
BUILD = "import sys, hatchling.build as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, target: Path, **env: str) -> subprocess.CompletedProcess:
    """Build a wheel or an sdist with the backend itself, without a network."""
    command = [sys.executable, "-c", BUILD, kind, str(target)]
    return subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, env={**os.environ, **env})


def test_the_version_is_that_of_the_module():
    """The Rust and the Python side have the same number."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert taskslot.__version__ == cargo["workspace"]["package"]["version"]


@pytest.mark.parametrize("name", ["LICENSE-MIT", "LICENSE-APACHE"])
def test_the_licences_are_those_of_the_repository(name):
    """Wheels contain copies of them."""
    assert (PACKAGE / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built once for all servers."""
    folder = tmp_path_factory.mktemp("wheel")
    built = build("wheel", folder)
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.splitlines()[-1]


@pytest.mark.skipif(not (ROOT / "target/release/libtaskslot.so").exists(), reason="needs `make build`")
# After `make build`, cargo has nothing to do. Otherwise it takes minutes.
@pytest.mark.timeout(600)
def test_a_server_loads_the_module_of_the_wheel(start, wheel, tmp_path):
    """It is installed into a folder, loaded by a server, and used by the command line from the same wheel."""
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name == f"taskslot-{taskslot.__version__}-py3-none-{machine}.whl"
    target = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
    )

    def run(*words: str) -> str:
        command = [target / "bin/taskslot", *words]
        env = {**os.environ, "PYTHONPATH": str(target)}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=env, cwd=tmp_path
        ).stdout.strip()

    path = Path(run("path"))
    assert path == target / "taskslot/_module/libtaskslot.so"
    server = start(module=path, port=True)
    url = ("--url", f"redis://127.0.0.1:{server.port}")
    task = run(*url, "push", "mail", "hello")
    assert run(*url, "claim", "mail").startswith(f"{task}@")
    # The entry point makes Celery know taskslot:// without an import.
    says = "from celery import Celery; print(Celery(broker='taskslot://').connection().transport.driver_name)"
    found = subprocess.run(
        [sys.executable, "-c", says],
        env={**os.environ, "PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout == "taskslot\n"


def test_the_sdist_contains_the_files_that_cargo_needs(tmp_path):
    """It has the workspace with its lock file and the licences, but no build results."""
    built = build("sdist", tmp_path)
    assert built.returncode == 0, built.stderr
    with tarfile.open(tmp_path / built.stdout.splitlines()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {f"rust/{file.relative_to(ROOT)}" for file in (ROOT / "src").rglob("*.rs")}
    assert sources | {"rust/Cargo.toml", "rust/Cargo.lock", "hatch_build.py", "LICENSE-MIT"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "target/" in name]


def test_without_cargo_the_build_says_what_is_missing(tmp_path):
    """The error is not about a missing file."""
    built = build("wheel", tmp_path, PATH=str(tmp_path))
    assert (
        built.returncode != 0 and "cargo, which builds taskslot's module, is not on the PATH" in built.stderr
    )


# ---- where the module is


@pytest.fixture
def source_tree(tmp_path, monkeypatch):
    """A repository without build results, to which `module.path` seems to belong."""
    package = tmp_path / "clients/python/taskslot"
    package.mkdir(parents=True)
    (tmp_path / "src/module").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "module.py"))
    return tmp_path


def test_in_the_repository_the_built_module_is_used(source_tree):
    """If the package contains a module, that one is used."""
    built, carried = (
        source_tree / at / module.FILE for at in ("target/release", "clients/python/taskslot/_module")
    )
    for file in (built, carried):
        file.parent.mkdir(parents=True)
        shutil.copy(MODULE, file)
        assert module.path() == file


def test_without_a_module_the_error_says_how_to_get_one(source_tree):
    """The error names pip and make."""
    with pytest.raises(FileNotFoundError, match="make build"):
        module.path()
