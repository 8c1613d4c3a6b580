"""`taskslot web`: serves the page of the queues, until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from . import logs, output
from .connection import connect
from .session import Session, command

PASSWORD, SECRET, MARKS = "TASKSLOT_WEB_PASSWORD", "TASKSLOT_WEB_SECRET", "TASKSLOT_WEB_MARKS_TOKEN"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app)(web)


def web(
    session: Session,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to serve the page.")
    ] = "127.0.0.1:8080",
    write: Annotated[bool, typer.Option("--write", help="Let the page change things.")] = False,
    password_file: Annotated[
        Path | None, typer.Option(help=f"A file with the password, or its hash. (or env {PASSWORD})")
    ] = None,
    trust_header: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A header in which a proxy says who the user is, instead of a password."
        ),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Serve on other addresses than this machine's, with no password.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name under which browsers reach the page; repeatable."),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            metavar="/PATH", help="The path at which a proxy serves the page. The proxy removes it."
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="A name to show at the top, such as production.")] = "",
    make_hash: Annotated[
        bool,
        typer.Option("--make-hash", help="Ask for a password, print its hash for --password-file, and exit."),
    ] = False,
) -> None:
    """Serve a page that shows the queues, and with --write changes them."""
    for package in ("starlette", "jinja2", "itsdangerous", "sse_starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"the page needs the package {package}: pip install 'taskslot[web]'")
    if make_hash:
        return print_hash()
    if root_path and not root_path.startswith("/"):
        raise ValueError("--root-path is a path, such as /tasks")
    address, port = listen_address(listen)
    password = read_password(password_file)
    refuse_open(address, password, trust_header, write, open_to_all)
    app = made(session, address, password, trust_header, write, host or [], name)
    with bound(address, port) as listener:
        url = f"http://{shown(address)}:{port or listener.getsockname()[1]}{root_path}"
        more = "" if write else ", read-only; --write lets it change things"
        # Who changed what is a line of the log.
        logs.set_up("text", "info", None)
        output.note(f"taskslot web: {url} shows {session.address}{more}")
        serve(app, listener, root_path)


def bound(address: str, port: int) -> socket.socket:
    """A socket that listens. So whoever waits for the line above can connect. Raises OSError, which says where."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        # Python adds the address to the text.
        text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        reason = f"can't listen on {shown(address)}:{port}: {text}"
        raise OSError(error.errno, reason) from None


def made(
    session: Session,
    address: str,
    password: str,
    header: str | None,
    write: bool,
    hosts: list[str],
    name: str,
) -> Any:
    """The app for these options."""
    from ..web import Read, Write, create_app
    from ..web.guard import LOOPBACK

    where = session.address
    read = write_door = None
    if header:
        read, write_door = Read.by_header(header), Write.by_header(header)
    elif password:
        read, write_door = Read.by_password(password), Write.by_password(password)
    return create_app(
        lambda: connect(where),
        write=write_door if write else None,
        read=read,
        name=name,
        hosts=[*LOOPBACK, *hosts] if is_loopback(address) or hosts else None,
        secret=os.environ.get(SECRET) or None,
        marks_token=os.environ.get(MARKS, ""),
    )


def serve(app: Any, listener: socket.socket, root_path: str) -> None:
    """Run the server until it is told to stop."""
    import uvicorn

    config = uvicorn.Config(
        app,
        root_path=root_path.rstrip("/"),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Otherwise everybody on this machine could choose an address, by which wrong passwords are counted.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        # Open pages hold a connection that never ends by itself.
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])


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


def read_password(file: Path | None) -> str:
    """The password, from the file or the environment; empty if there is none. Raises ValueError."""
    if file is None:
        return os.environ.get(PASSWORD, "")
    text = file.read_text(encoding="utf-8").strip("\r\n")
    if not text:
        raise ValueError("--password-file is empty")
    return text


def refuse_open(address: str, password: str, header: str | None, write: bool, open_to_all: bool) -> None:
    """Raise ValueError if strangers could read the payloads, or if two ways to sign in are given."""
    if password and header:
        raise ValueError(f"--trust-header and a password (--password-file, {PASSWORD}) exclude each other")
    if password or header:
        return
    if write:
        raise ValueError(f"--write needs a password (--password-file, env {PASSWORD}) or --trust-header")
    if not is_loopback(address) and not open_to_all:
        raise ValueError(
            f"others can reach {address}: give a password (--password-file, env {PASSWORD}), --trust-header, or --open"
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def shown(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def print_hash() -> None:
    """Ask for a password, and print its hash."""
    from ..web.rights import SHORTEST_PASSWORD, hashed

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"the password must have at least {SHORTEST_PASSWORD} letters")
    typer.echo(hashed(password))
