"""Settings of the module: arguments of loadmodule on every server, CONFIG from 7.0 on."""

import pytest
from harness.server import ServerDied
from harness.talk import Error, Talk

SETTINGS = {"failover-grace": b"1234", "max-payload": b"65536", "allow-effects": b"yes"}


@pytest.fixture
def configured(start):
    """A server with all settings given as arguments, and with CONFIG for modules."""
    server = start(module_args=[word for pair in SETTINGS.items() for word in (pair[0], pair[1].decode())])
    if server.installed.version < (7, 0):
        pytest.skip("before 7.0 modules have arguments only")
    return server


def test_config_shows_the_arguments_and_they_apply(configured):
    """The arguments are names and values after the module's path."""
    c = Talk(configured)
    for name, value in SETTINGS.items():
        assert c("CONFIG", "GET", f"taskslot.{name}") == [f"taskslot.{name}".encode(), value]
    assert "at most 65536 bytes" in str(c("TASK.PUSH", "q", "x" * 65537)) and c.push("q", "x" * 65536)


def test_an_argument_works_on_every_server(start):
    """This holds on servers without CONFIG for modules, too."""
    c = Talk(start(module_args=("max-payload", 10)))
    assert isinstance(c("TASK.PUSH", "q", "x" * 11), Error) and c.push("q", "x" * 10)


@pytest.mark.parametrize(
    "args", [("max-payload", 0), ("failover-grace", "soon"), ("what", 1), ("max-payload",)]
)
def test_the_server_does_not_start_with_an_invalid_argument(start, args):
    """An invalid setting is never ignored."""
    with pytest.raises(ServerDied):
        start(module_args=args)


def test_config_set_applies_at_once_and_config_rewrite_stores_it(start, configured):
    """A server that starts with the rewritten file has the settings."""
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
