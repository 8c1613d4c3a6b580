"""The check of imports finds every circle and no others. It runs on small generated trees."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent


class Tree:
    """A generated tree of files, and the results of the check on it."""

    def __init__(self, root: Path):
        self.root = root

    def file(self, path: str, text: str) -> None:
        """Write a file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def crate(self, name: str = "engine", depends_on: tuple[str, ...] = (), **files: str) -> None:
        """Write a crate: `lib="…"` is src/NAME/lib.rs, `store__log="…"` is src/NAME/store/log.rs."""
        lines = [f'x-{other} = {{ path = "../{other}" }}' for other in depends_on]
        self.file(f"src/{name}/Cargo.toml", "\n".join(["[dependencies]", *lines]))
        for file, text in files.items():
            self.file(f"src/{name}/{file.replace('__', '/')}.rs", text)

    def check(self, *options: str) -> tuple[int, str]:
        """The exit code of the check and its output."""
        command = [sys.executable, str(CHECK), "--root", str(self.root), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    def circle(self) -> set[str]:
        """The arrows of the only circle that is found, as `a -> b`, without folders."""
        code, output = self.check()
        assert code == 1 and output.count("a circle of") == 1, output
        arrows = (line.split(" imports ") for line in output.splitlines() if " imports " in line)
        return {" -> ".join(Path(file.strip()).name for file in arrow) for arrow in arrows}

    def arrows(self, file: str) -> set[str]:
        """The imports of a file, without folders."""
        lines = dict(line.split(":", 1) for line in self.check("--arrows")[1].splitlines() if ":" in line)
        return {Path(imported).name for imported in lines[file].split()}


@pytest.fixture
def tree(tmp_path):
    """An empty tree."""
    return Tree(tmp_path)


# ---- Rust


def test_two_files_that_import_each_other_are_a_circle(tree):
    """A third file that only imports one of them is not part of it."""
    tree.crate(lib="mod a; mod b; mod c;", a="use crate::b::B;", b="use crate::a::A;", c="use crate::a::A;")
    assert tree.circle() == {"a.rs -> b.rs", "b.rs -> a.rs"}


def test_a_circle_of_three_files_is_found(tree):
    """A circle can have any length."""
    tree.crate(lib="", a="use crate::b::B;", b="use crate::c::C;", c="use crate::a::A;")
    assert tree.circle() == {"a.rs -> b.rs", "b.rs -> c.rs", "c.rs -> a.rs"}


def test_a_chain_is_not_a_circle(tree):
    """Two paths to one file are not a circle either."""
    tree.crate(lib="", a="use crate::{b::B, c::C};", b="use crate::c::C;", c="pub struct C;")
    assert tree.check() == (0, "4 files, 3 imports between them, no circle\n")


@pytest.mark.parametrize(
    "importing",
    [
        "use crate::store::log::Log;",
        "use crate::store::{page::Page, log::{self, Log as Other}};",
        "use crate::{\n    store::{\n        page,\n        log::*,\n    },\n};",
        "use super::store::log::Log;",
        "fn f() -> crate::store::log::Log { todo!() }",
        "use crate::store;\nfn f() -> store::log::Log { todo!() }",
        "use crate::store::log as other;",
        "pub use crate::store::log::Log;\nfn f(log: Log) { crate::store::log::g(log) }",
        "/// A comment\nuse crate::store::Log; // through a re-export",
        "use crate::store::Renamed;",
        "use crate::Log;",
        "use crate::all::Log;",
    ],
)
def test_every_form_of_import_in_rust_is_found(tree, importing):
    """The forms are nested braces, `super`, paths in code, aliases, and re-exports by name or of everything."""
    tree.crate(
        lib="pub mod all; pub mod rule; pub mod store; pub use store::Log;",
        all="pub use crate::store::log::*;",
        rule=importing,
        store__mod="pub mod log; pub mod page; pub use log::{Log, Log as Renamed};",
        store__log="pub struct Log; pub fn g(log: Log) {}",
        store__page="pub struct Page;",
    )
    assert "log.rs" in tree.arrows("src/engine/rule.rs")
    tree.crate(store__log="pub struct Log; use super::super::rule::Rule;")
    assert tree.circle() == {"rule.rs -> log.rs", "log.rs -> rule.rs"}


def test_a_folder_that_only_re_exports_is_in_no_circle(tree):
    """Files of the folder import each other's names from it."""
    tree.crate(
        store__mod="mod log; mod page; pub use log::Log; pub use page::Page;",
        store__log="use super::Page; pub struct Log;",
        store__page="pub struct Page;",
        lib="",
    )
    assert tree.arrows("src/engine/store/log.rs") == {"page.rs"}
    assert tree.check()[0] == 0


def test_a_mod_file_with_code_of_its_own_can_be_in_a_circle(tree):
    """`mod.rs` is a file like any other if it defines and uses something itself."""
    tree.crate(
        commands__mod="mod push; fn answer() {} fn all() { push::push() }",
        commands__push="use super::answer; pub fn push() { answer() }",
        lib="",
    )
    assert tree.circle() == {"mod.rs -> push.rs", "push.rs -> mod.rs"}


def test_comments_strings_and_other_crates_are_no_imports(tree):
    """Text that looks like an import is ignored there."""
    tree.crate(
        lib="use other as api;",
        a='// use crate::b::B;\n/* use crate::b::B; */ const T: &str = "use crate::b::B;";\n'
        'const R: &str = r#"crate::b::B "quoted" "#;\nuse std::fmt; use crate::api::b; const C: char = \'"\';',
        b="use crate::a::A;",
    )
    assert tree.arrows("src/engine/a.rs") == set()
    assert tree.arrows("src/engine/b.rs") == {"a.rs"}


def test_an_exported_macro_is_found_in_the_file_that_defines_it(tree):
    """`#[macro_export]` puts its name at the root of the crate."""
    tree.crate(
        lib="", a="fn f() { crate::guarded!() }", b="#[macro_export] macro_rules! guarded { () => {} }"
    )
    tree.crate(a="use crate::guarded;")
    assert tree.arrows("src/engine/a.rs") == {"b.rs"}


def test_crates_depend_one_way(tree):
    """A dependency against the order of the crates is named, and so is a crate that is not in the order."""
    tree.crate("engine", lib="")
    tree.crate("node", ("engine",), lib="")
    tree.crate("api", lib="")
    tree.crate("module", ("api", "engine", "node"), lib="")
    assert tree.check()[0] == 0
    tree.crate("engine", ("node",), lib="")
    tree.crate("api", ("engine",), lib="")
    tree.crate("more", lib="")
    code, output = tree.check()
    assert code == 1
    assert "src/engine must not depend on src/node" in output
    assert "src/api must not depend on src/engine" in output
    assert "src/more is a crate" in output


# ---- Python


@pytest.mark.parametrize(
    "importing",
    [
        "from taskslot.wire import send",
        "from .wire import send",
        "from . import wire",
        "import taskslot.wire",
        "def f():\n    from .wire import send",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .wire import Wire",
        "from taskslot import send",
        "from .wire import (\n    send as other,\n)",
    ],
)
def test_every_form_of_import_in_python_is_found(tree, importing):
    """The forms are absolute, relative, within a function, for types only, and through `__init__.py`."""
    folder = "clients/python/taskslot"
    tree.file(f"{folder}/__init__.py", "from .wire import send\n")
    tree.file(f"{folder}/queue.py", importing)
    tree.file(f"{folder}/wire.py", "from .queue import Queue\n")
    assert tree.circle() == {"queue.py -> wire.py", "wire.py -> queue.py"}


def test_scripts_in_one_folder_import_each_other_by_bare_names(tree):
    """The files of examples/demo do so."""
    tree.file("examples/demo/screen.py", "import watch\n")
    tree.file("examples/demo/watch.py", "from screen import Screen\n")
    assert tree.circle() == {"screen.py -> watch.py", "watch.py -> screen.py"}


def test_a_file_of_a_package_can_have_a_name_of_the_standard_library(tree):
    """`import inspect` is not that file; `from . import inspect` is."""
    for name in ("__init__", "inspect"):
        tree.file(f"clients/python/taskslot/{name}.py", "")
    tree.file("clients/python/taskslot/session.py", "import inspect\n")
    tree.file("clients/python/taskslot/app.py", "from . import inspect\n")
    assert tree.arrows("clients/python/taskslot/session.py") == set()
    assert tree.arrows("clients/python/taskslot/app.py") == {"inspect.py"}


# ---- figures


def test_figures_count_lines_functions_and_circles(tree):
    """A function goes from `fn` to its closing brace. One without a body does not count."""
    rust = """
        /// fn in_a_comment() {}
        fn one(bytes: [u8; 4]) { "{" }
        trait T { fn none(&self); }
        fn three(x: u8)
        where x: Copy {
        }
        fn five() {
            fn inner() {}

            ();
        }
    """
    tree.crate(lib=rust, a="use crate::b::B;", b="use crate::a::A;")
    tree.file("bench/life.py", "class A:\n    async def f(self):\n        pass\n")
    code, output = tree.check("--figures")
    assert "| src/engine | 3 | 12 | 4 | 2 | 5 | 2 | 1 (2) |" in output
    assert "| bench | 1 | 3 | 1 | 2 | 2 | 0 | 0 |" in output
    assert code == 1
