"""The imports between the files of a Rust crate, read from their text, and the crates that a crate depends on.

A file imports another one if a path in it, in a `use` or elsewhere, names an item that the other one defines:
`crate::store::log::Log`, `super::Log`, `log::Log` after `use crate::store::log`. A path through a re-export leads to
the file that defines the name. `mod log;` and `pub use log::Log;` are not imports: a file that uses the re-export
imports the file that defines the name. Calls of methods are ignored, because they do not name the file.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graph import Graph

# A path from the root of the crate, as ("store", "log", "Log").
Names = tuple[str, ...]

NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(?P<mark>\#*)".*?"(?P=mark)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\\n])'""",
    re.S,
)
USE = re.compile(r"(?P<public>\bpub(?:\([\w\s]+\))?\s+)?\buse\s+(?P<tree>[^;]+);")
PATH = re.compile(r"(?<![\w:])(?:r#)?[A-Za-z_]\w*(?:::\w+)+")
DEFINED = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(?:mut\s+)?(\w+)")


def without_comments_and_strings(source: str) -> str:
    """The source with comments, strings and characters blanked. Each line keeps its number."""
    return NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)


@dataclass(eq=False)
class File:
    """A file of the crate, which is a module: what it defines and which paths are in it."""

    path: str
    module: Names
    defined: set[str] = field(default_factory=set)
    exported: dict[str, Names] = field(default_factory=dict)  # by the name of the re-export
    exported_whole: list[Names] = field(default_factory=list)  # `pub use x::*`
    imported: dict[str, Names] = field(default_factory=dict)  # by the name in this file
    foreign: set[str] = field(default_factory=set)  # imported from other crates
    paths: set[Names] = field(default_factory=set)  # all paths in the code


def branches(tree: str) -> Iterator[tuple[str, str]]:
    """The paths of a `use` and their names here: `a::{b, c::{self, d as e}}` gives a::b, a::c and a::c::d, as e."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = (part.strip() for part in tree.partition(" as "))
        path = path.removesuffix("::self")
        yield path, alias or path.rsplit("::", 1)[-1]
        return
    depth, start = 0, 0
    inner = rest.rstrip()[:-1]
    for at, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if branch := inner[start:at].strip():
                yield from branches(head + branch)
            start = at + 1


class Crate:
    """All files of a crate under a folder, whose root is `lib.rs`."""

    def __init__(self, folder: Path, root: Path):
        self.files: dict[Names, File] = {}
        for path in sorted(folder.rglob("*.rs")):
            names = path.relative_to(folder).with_suffix("").parts
            module = names[:-1] if names[-1] in ("lib", "mod") else names
            self.files[module] = File(str(path.relative_to(root)), module)
        for file in self.files.values():
            self._read(file, without_comments_and_strings((root / file.path).read_text()))

    def graph(self) -> Graph:
        """Which file imports which."""
        graph: Graph = {}
        for file in self.files.values():
            targets = {self.home(path) for path in file.paths}
            graph[file.path] = {target.path for target in targets if target and target is not file}
        return graph

    def _read(self, file: File, code: str) -> None:
        file.defined = set(DEFINED.findall(code))
        for use in USE.finditer(code):
            for text, name in branches(use["tree"]):
                path = self._from_root(file, tuple(text.split("::")))
                if path is None:
                    file.foreign.add(name)
                elif name == "*":
                    (file.exported_whole.append if use["public"] else file.paths.add)(path[:-1])
                elif use["public"]:
                    file.exported[name] = path
                else:
                    file.imported[name] = path
                    file.paths.add(path)
        for text in set(PATH.findall(USE.sub("", code))):
            names = tuple(text.split("::"))
            if path := self._from_root(file, names):
                file.paths.add(path)
        # A folder that is imported only leads to its files, and each of them is named where it is used.
        file.paths -= {path for path in file.imported.values() if self._has_children(path)}

    def _has_children(self, module: Names) -> bool:
        return module in self.files and any(m[:-1] == module for m in self.files if m)

    def _from_root(self, file: File, names: Names) -> Names | None:
        """The path from the crate's root, or None for a path into another crate or to a local name."""
        first, rest = names[0], names[1:]
        if first == "crate":
            return rest
        if first == "self":
            return file.module + rest
        if first == "super":
            base = file.module[:-1]
            while rest and rest[0] == "super":
                base, rest = base[:-1], rest[1:]
            return base + rest
        if first in file.imported:
            return file.imported[first] + rest
        if (*file.module, first) in self.files:
            return file.module + names
        return None

    def home(self, path: Names, hops: int = 8) -> File | None:
        """The file that defines the name of a path, or None for another crate. It follows up to eight re-exports."""
        module = path
        while module not in self.files:
            module = module[:-1]
        file = self.files[module]
        if len(module) == len(path):
            return file
        name, rest = path[len(module)], path[len(module) + 1 :]
        if name in file.exported and hops:
            return self.home(file.exported[name] + rest, hops - 1)
        if name in file.imported and name not in file.defined and hops:
            return self.home(file.imported[name] + rest, hops - 1)
        if name in file.foreign:
            return None
        if name not in file.defined:
            for exported in file.exported_whole:
                if (behind := self.home((*exported, name), hops - 1)) and name in behind.defined:
                    return behind
            if not module:
                return self._macro(name) or file
        return file

    def _macro(self, name: str) -> File | None:
        """The file of an exported macro, which every file finds at the crate's root."""
        return next((file for file in self.files.values() if name in file.defined and file.module), None)


def function_lengths(source: str) -> list[int]:
    """The lines of each function with a body, from `fn` to its closing brace. A nested one counts in both."""
    code = without_comments_and_strings(source)
    lengths = []
    for function in re.finditer(r"\bfn\s+\w+", code):
        body = re.compile(r"[{;]").search(code, function.end())
        # `[u8; 4]` in a signature has a semicolon as well.
        while (
            body
            and body[0] == ";"
            and code.count("[", function.end(), body.start()) > code.count("]", function.end(), body.start())
        ):
            body = re.compile(r"[{;]").search(code, body.end())
        if not body or body[0] == ";":
            continue
        depth, end = 0, body.start()
        for brace in re.compile(r"[{}]").finditer(code, body.start()):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                end = brace.start()
                break
        lengths.append(code.count("\n", function.start(), end) + 1)
    return lengths


def dependencies(manifest: Path) -> set[str]:
    """The crates of this workspace, by folder, in any table of dependencies of a crate."""
    tables = tomllib.loads(manifest.read_text())
    names = ("dependencies", "dev-dependencies", "build-dependencies")
    return {
        Path(dependency["path"]).name
        for name in names
        for dependency in tables.get(name, {}).values()
        if isinstance(dependency, dict) and "path" in dependency
    }
