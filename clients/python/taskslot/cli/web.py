"""`taskslot web`: serves the page of the queues, until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import password
from ..addresses import address_of, is_loopback
from ..connection import connect
from . import logs, output
from .listening import bound, listen_address
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
    web_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"A file with the page's password, or its hash. (or env {PASSWORD})"
        ),
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
            metavar="/PATH",
            help="The path at which a proxy serves the page. The proxy may remove it, or not.",
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="A name to show at the top, such as production.")] = "",
    make_hash: Annotated[
        bool,
        typer.Option(
            "--make-hash", help="Ask for a password, print its hash for --web-password-file, and exit."
        ),
    ] = False,
) -> None:
    """Serve a page that shows the queues, and with --write changes them.

    The variable TASKSLOT_WEB_SECRET signs the sessions, so that they outlive the process. With
    TASKSLOT_WEB_MARKS_TOKEN, a program that has this token can add marks, such as deploys, to the charts.
    """
    for package in ("starlette", "jinja2", "itsdangerous", "sse_starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"the page needs the package {package}: pip install 'taskslot[web]'")
    if make_hash:
        return print_hash()
    if root_path and not root_path.startswith("/"):
        raise ValueError("--root-path is a path, such as /tasks")
    address, port = listen_address(listen)
    secret = page_password(web_password_file)
    refuse_open(address, secret, trust_header, write, open_to_all)
    app = made(session, address, port, secret, trust_header, write, host or [], name)
    with bound(address, port) as listener:
        url = f"http://{address_of(address, port or listener.getsockname()[1])}{root_path}"
        more = "" if write else ", read-only; --write lets it change things"
        # Who changed what is a line of the log.
        logs.set_up("text", "info", None)
        output.note(f"taskslot web: {url} shows {session.address}{more}")
        serve(app, listener, root_path)


def made(
    session: Session,
    address: str,
    port: int,
    secret: str,
    header: str | None,
    write: bool,
    hosts: list[str],
    name: str,
) -> Any:
    """The app for these options."""
    from ..web import Read, Write, create_app
    from ..web.http.guard import LOOPBACK

    where = session.address
    read = write_door = None
    if header:
        read, write_door = Read.by_header(header), Write.by_header(header)
    elif secret:
        read, write_door = Read.by_password(secret), Write.by_password(secret)
    return create_app(
        lambda: connect(where),
        write=write_door if write else None,
        read=read,
        name=name,
        hosts=[*LOOPBACK, *hosts] if is_loopback(address) or hosts else None,
        secret=os.environ.get(SECRET) or None,
        marks_token=os.environ.get(MARKS, ""),
        cookie=f"taskslot-{port}",
    )


def serve(app: Any, listener: socket.socket, root_path: str) -> None:
    """Run the server until a signal stops it."""
    import uvicorn

    config = uvicorn.Config(
        below(app, root_path.rstrip("/")),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Otherwise everybody on this machine could choose an address, by which wrong passwords are counted.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        # Open pages hold a connection that never ends by itself.
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])


def below(app: Any, root: str) -> Any:
    """An app at this path, whether or not a proxy removes the path. Raises ValueError if one can't tell."""
    own = {getattr(route, "path", "").split("/")[1] for route in app.routes}
    if root and root.split("/")[1] in own:
        raise ValueError(f"--root-path {root} begins like a page of its own: choose another, such as /tasks")

    async def at_root(scope: Any, receive: Any, send: Any) -> None:
        if "path" in scope:
            path = scope["path"]
            is_below = path == root or path.startswith(f"{root}/")
            scope = {**scope, "root_path": root, "path": path if is_below else root + path}
        await app(scope, receive, send)

    return at_root


def page_password(file: Path | None) -> str:
    """The page's password, from the file or the environment; empty if there is none. Raises OSError and ValueError."""
    secret = password.of_environment(PASSWORD) if file is None else password.of_file(file)
    try:
        return (secret or b"").decode()
    except UnicodeDecodeError:
        raise ValueError("the page's password must be UTF-8") from None


def refuse_open(address: str, secret: str, header: str | None, write: bool, open_to_all: bool) -> None:
    """Raise ValueError if strangers could read the payloads, or if two ways to sign in are given."""
    if secret and header:
        raise ValueError(
            f"--trust-header and a password (--web-password-file, {PASSWORD}) exclude each other"
        )
    if secret or header:
        return
    if write:
        raise ValueError(f"--write needs a password (--web-password-file, env {PASSWORD}) or --trust-header")
    if not is_loopback(address) and not open_to_all:
        raise ValueError(
            f"others can reach {address}: give a password (--web-password-file, env {PASSWORD}), --trust-header, "
            "or --open"
        )


def print_hash() -> None:
    """Ask for a password, and print its hash."""
    from ..web.http.rights import SHORTEST_PASSWORD, hashed

    typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(typed) < SHORTEST_PASSWORD:
        raise ValueError(f"the password must have at least {SHORTEST_PASSWORD} letters")
    typer.echo(hashed(typed))
