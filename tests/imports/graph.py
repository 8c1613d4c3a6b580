"""A graph of files: which file imports which, and the circles in it."""

from collections.abc import Iterator

# An arrow goes from a file to a file that it imports. Files are named by their paths.
Graph = dict[str, set[str]]


def circles(graph: Graph) -> list[list[str]]:
    """The groups of files that all import each other, also indirectly (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}  # the order in which files are first visited
    lowest: dict[str, int] = {}  # the lowest number that a file reaches back to
    path: list[str] = []  # visited, and not yet in a group
    found: list[list[str]] = []

    def visit(file: str) -> None:
        number[file] = lowest[file] = len(number)
        path.append(file)
        for imported in sorted(graph.get(file, ())):
            if imported not in number:
                visit(imported)
            if imported in path:
                lowest[file] = min(lowest[file], lowest[imported])
        if lowest[file] == number[file]:
            start = path.index(file)
            group, path[start:] = path[start:], []
            if len(group) > 1:
                found.append(sorted(group))

    for file in sorted(graph):
        if file not in number:
            visit(file)
    return found


def arrows_within(graph: Graph, files: list[str]) -> Iterator[tuple[str, str]]:
    """The arrows between these files, sorted. Removing some of them opens the circle."""
    for file in sorted(files):
        for imported in sorted(graph[file] & set(files)):
            yield file, imported
