"""Runs the blocks that are files: settings, Node programs, data. Checks the syntax of blocks that are not run."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from harness import node_client, recipes
from harness.server import MODULE, Server, ServerDied

from docs.page import Block
from docs.python_blocks import examples, is_session
from docs.workplace import Lacking, Mismatch, Workplace


def do_settings(place: Workplace, block: Block) -> None:
    """Start a server with these settings on top of redis.conf."""
    settings = place.top / f"block-{block.line}.conf"
    settings.write_text(place.in_place(block.text))
    module = None if re.search(r"^loadmodule ", block.text, re.M) else MODULE
    include = [place.root / "redis.conf", settings]
    try:
        server = Server(place.installed, port=True, module=module, include=include)
    except ServerDied as died:
        raise Mismatch(block.line, f"a server with these settings doesn't start:\n{died}") from None
    try:
        server.check()
    finally:
        server.discard()


def do_module_of_node(place: Workplace, block: Block) -> None:
    """Run a Node program with the clients of the recipes."""
    _link_modules(place, block)
    if block.file:
        place.write(block)
        return
    program = place.folder / f"block-{block.line}.mjs"
    program.write_text(place.in_place(f"{block.one('before')}\n{block.text}"))
    place.succeed(block.line, _found(lambda: recipes.need("node")), program)


def check_types(place: Workplace, block: Block) -> None:
    """Check the types of a TypeScript program against the library of clients/node."""
    _link_modules(place, block)
    modules, installed = place.folder / "node_modules", _found(node_client.built) / "node_modules"
    if not (modules / "@types").exists():
        (modules / "@types").symlink_to(installed / "@types")
    program = place.folder / f"block-{block.line}.mts"
    program.write_text(block.text)
    strict = ["--strict", "--noEmit", "--module", "nodenext", "--skipLibCheck", "--types", "node"]
    place.succeed(block.line, installed / ".bin/tsc", *strict, program)


def _link_modules(place: Workplace, block: Block) -> None:
    """Let the programs of a page find the clients of the recipes, and the library of clients/node if they use it."""
    modules = place.folder / "node_modules"
    if not modules.exists():
        modules.mkdir()
        for package in _found(recipes.node_modules).iterdir():
            (modules / package.name).symlink_to(package)
    if re.search(r"""from ["']taskslot["']""", block.text) and not (modules / "taskslot").exists():
        (modules / "taskslot").symlink_to(_found(node_client.built))


def _found(look: Callable[[], Path | str]) -> Path | str:
    """Calls a function of the recipes' harness. Raises `Lacking` if the function skips the test."""
    try:
        return look()
    except recipes.pytest.skip.Exception as skipped:
        raise Lacking(str(skipped)) from None


def check_syntax(place: Workplace, block: Block) -> None:
    """Check the syntax of a block, if there is a parser for its language."""
    try:
        match block.language:
            case "json":
                json.loads(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                _parse_yaml(block.text)
            case "python":
                sources = [one.source for one in examples(block)] if is_session(block) else [block.text]
                for source in sources:
                    compile(source, place.page.name, "exec")
            case "sh":
                place.succeed(block.line, "bash", "-n", "-c", block.text)
    except (ValueError, SyntaxError) as error:
        raise Mismatch(block.line, f"{type(error).__name__}: {error}") from None


def _parse_yaml(text: str) -> None:
    import yaml  # only few pages need it

    try:
        list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ValueError(error) from None
