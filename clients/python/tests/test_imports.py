"""No files of the library import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import taskslot

PACKAGE = Path(taskslot.__file__).parent
MODULES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}


def test_no_circle_of_imports():
    """`static_order` raises CycleError, which names the circle."""
    graph = {name: imports(name, file) for name, file in MODULES.items()}
    assert "taskslot._sync.wire" in graph["taskslot._sync.queue"]
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def imports(name, file):
    """The modules of the library that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            base = f"{base}.{node.module}" if node.module else base
            names = [f"{base}.{alias.name}" for alias in node.names]
            found |= {one if one in MODULES else base for one in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(MODULES)
    return found - {name}
