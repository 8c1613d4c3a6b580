"""Addresses as texts: host and port, an IPv6 address in brackets. Pure functions."""

from __future__ import annotations

from ipaddress import ip_address


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def address_of(host: object, port: object) -> str:
    """Host and port as one text; empty without a host."""
    return f"{bracketed(str(host))}:{port}" if host else ""


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address of `address_of`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only its own machine reaches an address. A name that is not `localhost` counts as another's."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
