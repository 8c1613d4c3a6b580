"""Which tests run on which of the selected servers.

The tests of the server run whole on each. Those of code that runs beside it run whole on the first server, those of
the library also on the second, and on the others a fixed quarter of them runs. The quarter is another one on each
server. With `--rest`, as in CI, a test of the server runs on the first two, the newest and the oldest, and on one of
the others. pyproject.toml loads this plugin.
"""

from zlib import crc32

import pytest

from harness.fixtures import chosen
from harness.server import ROOT

# Of the four kinds of client, two run on every server, and the others count as slow.
ENOUGH = ("redis-py", "valkey-py asyncio")
LIBRARY = (
    "clients/python/tests/",
    "tests/cluster/test_command_line",
    "tests/cluster/test_dramatiq",
    "tests/cluster/test_library",
    "tests/cluster/test_node_client",
    "tests/cluster/test_recipes",
    "tests/cluster/test_ways_to_a_cluster",
    "tests/cluster/test_worker_on_a_cluster",
    "tests/server/test_node_client",
)
# What they test hardly depends on the server, or is tested on each server elsewhere.
OF_THE_FIRST = (
    *(
        f"clients/python/tests/test_{name}"
        for name in ("doctor", "metrics", "prometheus", "serve", "top", "web")
    ),
    "clients/python/tests/test_worker_command",
    "tests/cluster/test_doctor",
    "tests/cluster/test_web",
    "tests/chaos/",
    "tests/conformance/",
    "tests/dist/",
    "tests/docs/",
    "tests/server/durability/test_studio",
    "tests/server/test_bull_board",
    "tests/web/",
)


def pytest_addoption(parser):
    parser.addoption(
        "--rest", action="store_true", help="leave out what `make test` runs on the first server"
    )


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config, items):
    """Mark the clients that count as slow, leave out what does not run on a server, and begin with what is slow."""
    servers = [server.name for server in chosen(config)]
    for item in items:
        if client_of(item) not in (None, *ENOUGH):
            item.add_marker(pytest.mark.slow)
    rest = config.getoption("--rest")
    dropped = {item for item in items if not runs(item, servers, rest)}
    config.hook.pytest_deselected(items=list(dropped))
    items[:] = [item for item in items if item not in dropped]
    # Processes that have nothing left take tests from the end of what others have. No slow one is left to the last.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def runs(item, servers: list[str], rest: bool) -> bool:
    """Whether a test runs on its server; `rest` leaves out what a plain run tests on the first one."""
    server = server_of(item)
    if server in (None, servers[0]):
        return not rest or item.get_closest_marker("slow") is not None
    if is_of(item, OF_THE_FIRST):
        return is_drawn(item)
    if server == servers[1]:
        return True
    client = client_of(item)
    if is_of(item, LIBRARY) and client is None:
        return is_drawn(item)
    return client in (None, *ENOUGH) and (not rest or is_its_turn(item, server, servers[2:]))


def is_drawn(item) -> bool:
    """Whether a test is one of the quarter that runs on every server."""
    return crc32(item.nodeid.encode()) % 4 == 0


def is_its_turn(item, server: str, servers: list[str]) -> bool:
    """Whether a test runs on this server, if it runs on one of these."""
    test = item.nodeid.replace(server, "")
    return servers[crc32(test.encode()) % len(servers)] == server


def is_of(item, paths: tuple[str, ...]) -> bool:
    """Whether a test is in one of these folders, or in a file that begins so."""
    return item.path.relative_to(ROOT).as_posix().startswith(paths)


def server_of(item) -> str | None:
    """The server of a test. None if it needs none."""
    return getattr(item.callspec.params.get("installed"), "name", None) if hasattr(item, "callspec") else None


def client_of(item) -> str | None:
    """The kind of client that a test of the library is run with. None if it is run with one only."""
    is_library = is_of(item, ("clients/python/tests/",)) and hasattr(item, "callspec")
    return item.callspec.params.get("library") if is_library else None
