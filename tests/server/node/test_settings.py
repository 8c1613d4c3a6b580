"""The module's own settings: arguments of loadmodule everywhere, CONFIG from 7.0 on."""

import pytest
from harness.server import ServerDied
from harness.talk import Error, Talk

SETTINGS = {"failover-grace": b"1234", "max-payload": b"65536", "allow-effects": b"yes"}


@pytest.fixture
def configured(start):
    """A server that has the settings of modules among its own."""
    server = start(module_args=[word for pair in SETTINGS.items() for word in (pair[0], pair[1].decode())])
    if server.installed.version < (7, 0):
        pytest.skip("before 7.0 modules have arguments only")
    return server


def test_arguments_are_what_config_shows_and_work(configured):
    """Names and values behind loadmodule."""
    c = Talk(configured)
    for name, value in SETTINGS.items():
        assert c("CONFIG", "GET", f"taskslot.{name}") == [f"taskslot.{name}".encode(), value]
    assert "at most 65536 bytes" in str(c("TASK.PUSH", "q", "x" * 65537)) and c.push("q", "x" * 65536)


def test_an_argument_works_on_every_server(start):
    """Also where there is no CONFIG for it."""
    c = Talk(start(module_args=("max-payload", 10)))
    assert isinstance(c("TASK.PUSH", "q", "x" * 11), Error) and c.push("q", "x" * 10)


@pytest.mark.parametrize(
    "args", [("max-payload", 0), ("failover-grace", "soon"), ("what", 1), ("max-payload",)]
)
def test_an_argument_that_says_nothing_sensible_ends_the_start(start, args):
    """Better no server than one that behaves in another way than it was told."""
    with pytest.raises(ServerDied):
        start(module_args=args)


def test_config_set_is_at_once_and_rewrite_keeps_it(start, configured):
    """REWRITE writes it into the file, and a server with that file has it."""
    c = Talk(configured)
    assert c("CONFIG", "SET", "taskslot.max-payload", "20") == "OK"
    assert isinstance(c("TASK.PUSH", "q", "x" * 21), Error) and c.push("q", "x" * 20)
    for value in ("0", "-1", "x", "513mb"):
        assert isinstance(c("CONFIG", "SET", "taskslot.max-payload", value), Error)
    assert c("CONFIG", "SET", "taskslot.failover-grace", "77") == "OK"
    assert c("CONFIG", "REWRITE") == "OK"
    lines = (configured.dir / "redis.conf").read_text().splitlines()
    written = dict(line.split(" ", 1) for line in lines if line.startswith("taskslot."))
    assert written["taskslot.failover-grace"] == "77" and written["taskslot.max-payload"] in ("20", "20b")
    again = Talk(start(**written))
    assert again("CONFIG", "GET", "taskslot.failover-grace")[1] == b"77"
    assert again("CONFIG", "GET", "taskslot.max-payload")[1] == b"20"
