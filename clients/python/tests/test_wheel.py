"""The packages: the library's wheel is pure Python, the module's contains a module that a server loads."""

import importlib.machinery
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
import taskslot
from harness.server import MODULE, ROOT
from taskslot import module

LIBRARY = ROOT / "clients/python"
MODULE_PACKAGE = ROOT / "packaging/module"
BUILD = "import sys, hatchling.build as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, package: Path, target: Path, **env: str) -> subprocess.CompletedProcess:
    """Build a wheel or an sdist with the backend itself, without a network."""
    command = [sys.executable, "-c", BUILD, kind, str(target)]
    return subprocess.run(command, cwd=package, capture_output=True, text=True, env={**os.environ, **env})


def built(kind: str, package: Path, target: Path) -> Path:
    """The wheel or sdist, built into a folder."""
    done = build(kind, package, target)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["LICENSE-MIT", "LICENSE-APACHE"])
@pytest.mark.parametrize("package", [LIBRARY, MODULE_PACKAGE], ids=lambda package: package.name)
def test_the_licences_are_those_of_the_repository(package, name):
    """Wheels contain copies of them."""
    assert (package / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of the library and of the module, built once for all servers."""
    folder = tmp_path_factory.mktemp("wheels")
    return [built("wheel", package, folder) for package in (LIBRARY, MODULE_PACKAGE)]


@pytest.mark.skipif(not (ROOT / "target/release/libtaskslot.so").exists(), reason="needs `make build`")
# After `make build`, cargo has nothing to do. Otherwise it takes minutes.
@pytest.mark.timeout(600)
def test_a_server_loads_the_module_of_the_wheel(start, wheels, tmp_path):
    """Both are installed into a folder, and the command line of one finds the module of the other."""
    machine = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert [wheel.name for wheel in wheels] == [
        f"taskslot-{taskslot.__version__}-py3-none-any.whl",
        f"taskslot_module-{taskslot.__version__}-py3-none-{machine}.whl",
    ]
    target = tmp_path / "installed"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--target",
            target,
            *wheels,
        ],
        check=True,
    )

    def run(*words: str) -> str:
        command = [target / "bin/taskslot", *words]
        env = {**os.environ, "PYTHONPATH": str(target)}
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=env, cwd=tmp_path
        ).stdout.strip()

    path = Path(run("path"))
    assert path == target / "taskslot_module/libtaskslot.so"
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
    """Cargo finds all members of the workspace, and the sdist has the licences, but no build results."""
    with tarfile.open(built("sdist", MODULE_PACKAGE, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    sources = {f"rust/{file.relative_to(ROOT)}" for file in (ROOT / "src").rglob("*.rs")}
    assert sources | {"rust/Cargo.lock", "hatch_build.py", "LICENSE-MIT"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "target/" in name]
    [manifest] = tmp_path.glob("*/rust/Cargo.toml")
    cargo = ["cargo", "metadata", "--offline", "--locked", "--no-deps", "--format-version=1"]
    subprocess.run([*cargo, "--manifest-path", manifest], check=True, stdout=subprocess.DEVNULL)


def test_the_library_is_built_without_cargo(tmp_path):
    """Its sdist contains the library alone: nothing of it is compiled."""
    none = str(tmp_path)
    assert build("wheel", LIBRARY, tmp_path, PATH=none).returncode == 0
    with tarfile.open(built("sdist", LIBRARY, tmp_path)) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    of_it = {
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        ".gitignore",
        "taskslot",
    }
    assert {name.partition("/")[0] for name in names} == of_it


def test_without_cargo_the_module_is_not_built(tmp_path):
    """The error says what is missing, and is not about a missing file."""
    done = build("wheel", MODULE_PACKAGE, tmp_path, PATH=str(tmp_path))
    assert done.returncode != 0
    assert "cargo, which builds taskslot's module, is not on the PATH" in done.stderr


# ---- where the module is


@pytest.fixture
def source_tree(tmp_path, monkeypatch):
    """A repository without build results, to which `module.path` seems to belong."""
    (tmp_path / "src/module").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "clients/python/taskslot/module.py"))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    return tmp_path


def put(folder: Path) -> Path:
    """Puts a module into a new folder."""
    folder.mkdir(parents=True)
    return Path(shutil.copy(MODULE, folder / module.FILE))


def test_in_the_repository_the_built_module_is_used(source_tree):
    """That is the release of `make build`."""
    assert put(source_tree / "target/release") == module.path()


def test_an_installed_module_is_used_first(source_tree, monkeypatch):
    """A package without its file, as an editable install leaves it, is passed over."""
    built = put(source_tree / "target/release")
    folder = source_tree / "packages/taskslot_module"
    package = importlib.machinery.ModuleSpec("taskslot_module", None, is_package=True)
    package.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(module, "find_spec", {"taskslot_module": package}.get)
    assert module.path() == built
    assert put(folder) == module.path()


def test_without_a_module_the_error_says_how_to_get_one(source_tree):
    """The error names the extra and make."""
    with pytest.raises(FileNotFoundError, match=r"pip install 'taskslot\[module\]', or run `make build`"):
        module.path()
