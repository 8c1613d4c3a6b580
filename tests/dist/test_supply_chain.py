"""What the tree is built from: where it comes from, under which licences, and that every version is pinned.

`make audit` checks more of the Rust crates, with cargo-deny. These checks need no network and no other tool.
"""

import json
import re
import subprocess
import tomllib

import pytest
from harness.server import ROOT

DENY = tomllib.loads((ROOT / "deny.toml").read_text())
ALLOWED = set(DENY["licenses"]["allow"])
# Of packages for Node, some have these too. None of them is part of what users install.
FOR_NODE = ALLOWED | {"0BSD"}
# libFuzzer, which is never shipped.
FOR_FUZZING = {"NCSA"}


def is_allowed(licence: str, allowed: set[str] = ALLOWED) -> bool:
    """Whether an expression of licences, such as `(MIT OR X) AND Y`, can be met with allowed ones."""
    words = re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", licence.replace("/", " OR "))

    def either() -> bool:
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            other = both()
            met = met or other
        return met

    def both() -> bool:
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            other = one()
            met = met and other
        return met

    def one() -> bool:
        word = words.pop(0)
        if word != "(":
            return word in allowed
        met = either()
        assert words.pop(0) == ")"
        return met

    met = either()
    assert not words, licence
    return met


def test_expressions_of_licences_are_understood():
    """OR needs one of them, AND all, and a slash is an old OR."""
    for licence in ("MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(GPL-3.0 OR MIT) AND ISC", "MIT OR X WITH Y"):
        assert is_allowed(licence), licence
    for licence in ("GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT WITH Y", "GPL-3.0/X"):
        assert not is_allowed(licence), licence


@pytest.mark.parametrize("folder, least", [(".", 50), ("fuzz", 20)])
def test_crates_come_from_crates_io_under_allowed_licences(folder, least):
    """All of Cargo.lock, the crates of tests too, and that of the fuzz targets. Each has a checksum."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    others = [crate for crate in json.loads(done.stdout)["packages"] if crate["source"] is not None]
    assert len(others) > least
    sources = {f"registry+{index}" for index in DENY["sources"]["allow-registry"]}
    assert {crate["source"] for crate in others} == sources
    allowed = ALLOWED | FOR_FUZZING if folder == "fuzz" else ALLOWED
    assert [
        (crate["name"], crate["license"])
        for crate in others
        if not is_allowed(crate["license"] or "none", allowed)
    ] == []
    locked = tomllib.loads((ROOT / folder / "Cargo.lock").read_text())["package"]
    assert [crate["name"] for crate in locked if "source" in crate and "checksum" not in crate] == []
    assert not {crate["name"] for crate in others} & set(DENY["bans"]["deny"])


@pytest.mark.parametrize("file", sorted(file.name for file in (ROOT / "requirements").glob("*.txt")))
def test_every_python_package_is_pinned(file):
    """One version each, from the registry: neither an address nor another index."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements" / file).read_text().splitlines()]
    for line in filter(None, lines):
        assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", line), line


LOCKS = ["clients/node", "clients/recipes/node", "bench/frameworks", "examples/bull-board"]


@pytest.mark.parametrize("folder", LOCKS)
def test_every_node_package_is_locked(folder):
    """By a hash; from the registry, if the lock says where from; under an allowed licence."""
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    others = {name: package for name, package in packages.items() if name and not package.get("link")}
    assert others
    for name, package in others.items():
        assert package["integrity"].startswith("sha512-"), name
        assert package.get("resolved", "https://registry.npmjs.org/").startswith(
            "https://registry.npmjs.org/"
        ), name
        assert is_allowed(package["license"], FOR_NODE), (name, package["license"])


def test_the_library_for_node_brings_no_other_package():
    """Users bring their own client; what it is built with is not installed with it."""
    package = json.loads((ROOT / "clients/node/package.json").read_text())
    assert not package.get("dependencies")
    locked = json.loads((ROOT / "clients/node/package-lock.json").read_text())["packages"]
    assert all(part.get("dev") or part.get("peer") for name, part in locked.items() if name)


def test_what_others_wrote_has_its_licence_beside_it():
    """The page of `taskslot web` has two libraries for the browser, each with its version in its name."""
    folder = ROOT / "clients/python/taskslot/web/static/vendor"
    code = [file for file in folder.iterdir() if file.suffix in (".js", ".css")]
    assert len(code) == 3
    for file in code:
        name = re.fullmatch(r"(\w+)-[\d.]+\.min\.(js|css)", file.name)[1]
        assert "ermission" in (folder / f"{name}.LICENSE").read_text()
