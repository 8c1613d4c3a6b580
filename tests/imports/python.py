"""The imports between Python files, read from their syntax trees, also within functions and for types only.

A name imported from `__init__.py` leads to the file that defines it. `__init__.py` itself imports nothing if it only
passes names on. Relative imports, absolute imports of a package, and imports of a file in the same folder by its bare
name are followed. An import that leads to no file of the tree is ignored.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from graph import Graph


class Files:
    """The Python files in some folders. `packages` are the folders in which packages are found by name."""

    def __init__(self, folders: list[Path], packages: list[Path]):
        self._packages = packages
        paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
        self._trees = {path: ast.parse(path.read_text()) for path in paths}

    def graph(self, root: Path) -> Graph:
        """Which file imports which. Files are named by their paths from `root`."""
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
        """The file of a module that is named in the file `path`, with that many dots before the name."""
        names = module.split(".") if module else []
        # In a package, `import inspect` is the standard library's, even if there is a file inspect.py.
        neighbours = [] if path.with_name("__init__.py").exists() else [path.parent]
        starts = [path.parents[level - 1]] if level else [*neighbours, *self._packages]
        for start in starts:
            target = start.joinpath(*names)
            for candidate in (target.with_suffix(".py"), target / "__init__.py"):
                if candidate in self._trees and (names or candidate.name == "__init__.py"):
                    return candidate
        return None


def function_lengths(source: str) -> list[int]:
    """The lines of each function, from its `def` to its last line. A nested function counts in both."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, functions))
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]
