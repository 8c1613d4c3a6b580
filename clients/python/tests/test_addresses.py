"""Addresses as texts, without a server."""

import pytest
from taskslot.addresses import address_of, host_and_port, is_loopback
from taskslot.connection import read_address


@pytest.mark.parametrize(
    ("host", "text"),
    [("db.example", "db.example:7000"), ("10.0.0.7", "10.0.0.7:7000"), ("::1", "[::1]:7000")],
)
def test_an_address_can_be_read_again(host, text):
    """An IPv6 address is in brackets, in all that is printed and in all that is read."""
    assert address_of(host, 7000) == text and host_and_port(text) == (host, 7000)
    assert str(read_address(f"redis://{text}", None, None)) == text
    assert read_address("redis://", text, "main").sentinels == ((host, 7000),)


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.8.8.8", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("db", False),
    ],
)
def test_it_is_known_which_addresses_others_can_reach(host, is_here):
    """All addresses of this machine, and names of others, count as reachable."""
    assert is_loopback(host) == is_here
