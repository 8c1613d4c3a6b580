"""Check that files do not import each other in a circle, and that crates depend on each other in one direction.

    tests/imports             what `make lint` runs: prints each circle, and exits with 1 if there is one
    tests/imports --arrows    also prints which file imports which
    tests/imports --figures   prints a table: files, lines, functions and their lengths, circles
    tests/imports --root DIR  checks another tree

It needs only Python.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import python
import rust
from graph import Graph, arrows_within, circles

# The crates that each crate can depend on: module -> node -> engine, and module -> api; all -> edges.
MAY_DEPEND_ON = {
    "edges": set(),
    "engine": {"edges"},
    "api": {"edges"},
    "node": {"edges", "engine"},
    "module": {"edges", "node", "engine", "api"},
}

# The Python folders that are checked, and the folders in which packages are found by name.
PYTHON = (
    "clients/python/taskslot",
    "clients/python/tests",
    "clients/conformance",
    "tests",
    "examples",
    "bench",
    "chaos",
    "docs",
    "fuzz",
)
PACKAGES = (".", "clients/python", "clients", "tests")


@dataclass
class Part:
    """A crate, or a folder of Python files."""

    name: str
    graph: Graph
    lines: int
    functions: list[int]  # the length of each, in lines


def crates(root: Path) -> list[Part]:
    """All crates in src/."""
    folders = [manifest.parent for manifest in sorted(root.glob("src/*/Cargo.toml"))]
    return [
        part(folder, root, ".rs", rust.Crate(folder, root).graph(), rust.function_lengths)
        for folder in folders
    ]


def python_folders(root: Path) -> tuple[Graph, list[Part]]:
    """The graph of all Python files, which import each other across folders, and the folders that exist."""
    folders = [root / name for name in PYTHON if (root / name).is_dir()]
    graph = python.Files(folders, [root / package for package in PACKAGES]).graph(root)
    return graph, [part(folder, root, ".py", graph, python.function_lengths) for folder in folders]


def part(
    folder: Path, root: Path, suffix: str, graph: Graph, function_lengths: Callable[[str], list[int]]
) -> Part:
    """The files of a folder, with their imports of any file in the graph."""
    name = str(folder.relative_to(root))
    sources = [path.read_text() for path in folder.rglob(f"*{suffix}")]
    functions = [length for source in sources for length in function_lengths(source)]
    own = {file: imported for file, imported in graph.items() if file.startswith(f"{name}/")}
    return Part(name, own, sum(source.count("\n") for source in sources), functions)


def wrong_dependencies(root: Path) -> Iterator[str]:
    """The dependencies between crates that are not allowed."""
    for manifest in sorted(root.glob("src/*/Cargo.toml")):
        crate = manifest.parent.name
        if crate not in MAY_DEPEND_ON:
            yield f"src/{crate} is a crate that {Path(__file__).parent.name}/__main__.py does not list"
        for dependency in sorted(rust.dependencies(manifest) - MAY_DEPEND_ON.get(crate, set())):
            yield f"src/{crate} must not depend on src/{dependency}"


def print_circle(graph: Graph, files: list[str]) -> None:
    """Print a circle and its imports."""
    print(f"a circle of {len(files)} files:")
    for file, imported in arrows_within(graph, files):
        print(f"  {file} imports {imported}")


def print_figures(parts: list[Part]) -> None:
    """Print a table in Markdown."""
    print("| | files | lines | functions | median lines | longest | imports | circles (files in them) |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for p in parts:
        found = circles(p.graph)
        figures = [len(p.graph), p.lines, len(p.functions), f"{median(p.functions or [0]):g}"]
        figures += [max(p.functions, default=0), sum(map(len, p.graph.values()))]
        figures.append(f"{len(found)} ({sum(map(len, found))})" if found else 0)
        print(f"| {p.name} | {' | '.join(map(str, figures))} |")


def main() -> int:
    """Check a tree and print the results. Returns 1 if something is wrong."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--arrows", action="store_true", help="print which file imports which")
    parser.add_argument("--figures", action="store_true", help="print a table of figures")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="the tree")
    options = parser.parse_args()
    root = options.root.resolve()

    python_graph, python_parts = python_folders(root)
    rust_parts = crates(root)
    parts = rust_parts + python_parts
    found = [
        (graph, files) for graph in [*(p.graph for p in rust_parts), python_graph] for files in circles(graph)
    ]
    wrong = list(wrong_dependencies(root))

    for line in wrong:
        print(line)
    for graph, files in found:
        print_circle(graph, files)
    if options.arrows:
        for p in parts:
            print(
                *(f"{file}: {' '.join(sorted(imported))}" for file, imported in sorted(p.graph.items())),
                sep="\n",
            )
    if options.figures:
        print_figures(parts)
    elif not found and not wrong:
        imports = sum(len(imported) for p in parts for imported in p.graph.values())
        print(f"{sum(len(p.graph) for p in parts)} files, {imports} imports between them, no circle")
    return 1 if found or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
