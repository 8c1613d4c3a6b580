"""A release: the version is the same everywhere, and the files that `make dist` builds work."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tomllib

import pytest
import taskslot
from harness.server import ROOT
from harness.talk import Talk

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder that `make dist` fills."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "packaging/dist.py", "--into", folder], check=True)
    return folder


@pytest.fixture
def unpacked(dist, tmp_path):
    """The folder in the tarball."""
    [archive] = dist.glob("*-linux-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    [folder] = tmp_path.iterdir()
    return folder


def test_everything_shows_the_version_of_cargo_toml(server):
    """Checked are the server's list of modules, INFO, HELP, and the newest entry of the changelog."""
    c = Talk(server)
    major, minor, patch = map(int, VERSION.split("."))
    modules = {module[b"name"]: module[b"ver"] for module in map(c.as_map, c("MODULE", "LIST"))}
    assert modules[b"taskslot"] == 10_000 * major + 100 * minor + patch
    assert f"taskslot_version:{VERSION}\r\n" in c("INFO", "taskslot").decode()
    assert c("TASK.HELP")[0].split(":")[0] == f"taskslot {VERSION}"
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", changelog, re.M)[0] == VERSION


def test_the_libraries_have_the_version_of_cargo_toml():
    """These are Python's, with the module that its extra asks for, and Node's."""
    python = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    assert taskslot.__version__ == VERSION
    assert python["optional-dependencies"]["module"] == [f"taskslot-module=={VERSION}"]
    for name in ("package.json", "package-lock.json"):
        assert json.loads((ROOT / "clients/node" / name).read_text())["version"] == VERSION


def test_a_server_loads_the_module_of_the_tarball(start, unpacked):
    """HELP shows the version of the tarball."""
    server = start(module=unpacked / "libtaskslot.so")
    assert Talk(server)("TASK.HELP")[0].startswith(f"taskslot {VERSION}")


def test_the_tarball_has_documents_and_licences(unpacked):
    """A user without a clone has the README, the documents, the settings and the licences."""
    assert unpacked.name.startswith(f"taskslot-{VERSION}-linux-")
    for name in ["README.md", "docs/index.md", "docs/pictures/life.svg", "redis.conf", "LICENSE-MIT"]:
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_module_is_stripped(unpacked):
    """It has no symbol table, and exports the function that servers look for."""
    module = unpacked / "libtaskslot.so"
    tables = subprocess.run(["readelf", "-SW", module], check=True, capture_output=True, text=True).stdout
    assert ".symtab" not in tables and ".dynsym" in tables
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", module], check=True, capture_output=True, text=True
    )
    assert exported.stdout.split()[-1] == "RedisModule_OnLoad"


def test_the_checksums_are_those_of_the_files(dist):
    """SHA256SUMS lists the tarball, and a wheel and a source package each of the library and of the module."""
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert {name.split("-")[1] for name in sums} == {VERSION, f"{VERSION}.tar.gz"}
    assert sorted(sums) == sorted(file.name for file in dist.glob("taskslot*")) and len(sums) == 5
    for name, digest in sums.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest


def test_files_that_are_not_of_a_release_stay(tmp_path):
    """The output folder can hold other files, even with similar names."""
    mine = tmp_path / "taskslot-notes.txt"
    mine.write_text("mine")
    subprocess.run([sys.executable, ROOT / "packaging/dist.py", "--into", tmp_path], check=True)
    assert mine.read_text() == "mine"
