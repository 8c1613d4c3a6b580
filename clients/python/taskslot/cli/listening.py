"""Where a command serves HTTP: the option `--listen`, and a socket that listens."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from ..addresses import address_of


def listen_address(text: str) -> tuple[str, int]:
    """The host and port of `--listen`: `host:port`, `[ipv6]:port`, or `:port` for all addresses. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if port is None or parts.path or parts.username is not None:
        raise ValueError("--listen takes host:port, such as 127.0.0.1:8080")
    return host or "0.0.0.0", port


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens, so that whoever waits for the command's first line can connect. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise refused(error, host, port) from None


def refused(error: OSError, host: str, port: int) -> OSError:
    """The error of an address that can't be listened on, which says where."""
    # Python adds the address to the text.
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
    return OSError(error.errno, f"can't listen on {address_of(host, port)}: {text}")
