"""The imports between Python files, by their syntax tree: those within functions and those for types only, too.

A name that `__init__.py` imports from a file leads to that file. `__init__.py` itself imports nothing by that: it only
passes names on. A relative import, an absolute one of a package and one of a neighbour by its bare name are followed;
what leads to no file here is somebody else's.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from graph import Graph


class Files:
    """The Python files in some folders. `packages` are the folders in which packages are found by their names."""

    def __init__(self, folders: list[Path], packages: list[Path]):
        self._packages = packages
        paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
        self._trees = {path: ast.parse(path.read_text()) for path in paths}

    def graph(self, root: Path) -> Graph:
        """Which file imports which; files by their paths from `root`."""
        return {
            str(path.relative_to(root)): {
                str(target.relative_to(root)) for target in self._imports(path) if target != path
            }
            for path in self._trees
        }

    def _imports(self, path: Path) -> Iterator[Path]:
        for node in ast.walk(self._trees[path]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._found(self._file(path, 0, alias.name))
            elif isinstance(node, ast.ImportFrom):
                if path.name == "__init__.py" and self._only_passes_on(path, node):
                    continue
                for alias in node.names:
                    yield from self._found(self._home(path, node, alias.name))

    def _found(self, path: Path | None) -> Iterator[Path]:
        if path is not None:
            yield path

    def _only_passes_on(self, path: Path, node: ast.ImportFrom) -> bool:
        """Whether no name of this import is used in the file."""
        names = {alias.asname or alias.name for alias in node.names}
        used = {name.id for name in ast.walk(self._trees[path]) if isinstance(name, ast.Name)}
        return not names & used

    def _home(self, path: Path, node: ast.ImportFrom, name: str) -> Path | None:
        """The file that defines a name which is imported from a module."""
        module = f"{node.module}.{name}" if node.module else name
        if submodule := self._file(path, node.level, module):
            return submodule
        file = self._file(path, node.level, node.module or "")
        if file and file.name == "__init__.py":
            for inner in self._trees[file].body:
                if isinstance(inner, ast.ImportFrom):
                    for alias in inner.names:
                        if (alias.asname or alias.name) == name:
                            return self._home(file, inner, alias.name) or file
        return file

    def _file(self, path: Path, level: int, module: str) -> Path | None:
        """The file of a module, as named in the file `path` with so many dots before it."""
        names = module.split(".") if module else []
        # In a package `import inspect` is the standard library's, whatever lies beside it.
        neighbours = [] if path.with_name("__init__.py").exists() else [path.parent]
        starts = [path.parents[level - 1]] if level else [*neighbours, *self._packages]
        for start in starts:
            target = start.joinpath(*names)
            for candidate in (target.with_suffix(".py"), target / "__init__.py"):
                if candidate in self._trees and (names or candidate.name == "__init__.py"):
                    return candidate
        return None


def function_lengths(source: str) -> list[int]:
    """Lines of each function, from its `def` to its last line; one within another counts in both."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, functions))
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]
