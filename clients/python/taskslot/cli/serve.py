"""The command `taskslot serve`: a server with the module and safe settings, in the foreground."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from .. import __version__, figures
from ..addresses import bracketed
from ..errors import TaskslotError
from ..password import VARIABLE
from ..serve.start import Prepared, Wanted, prepare
from . import output
from .session import reason, refuse


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(serve)


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 6379,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="An address to listen on; repeat for more. All but this machine's own need a password. "
            "By default 127.0.0.1 and ::1.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The folder of the data. By default ~/.local/share/taskslot/PORT."
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"A file with the password. (Or set {VARIABLE}.)"),
    ] = None,
    make_password: Annotated[
        bool,
        typer.Option("--make-password", help="Make a password, show it once, and keep it in the folder."),
    ] = False,
    maxmemory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="The memory for data, such as 1gb; then pushes are refused. 0 for no limit. "
            "By default 60 % of this machine's.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="More settings, in the form of redis.conf."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="The server's program. By default that of the extra, or one on the PATH."
        ),
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="PATH", help="The module. By default that of `taskslot path`.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- --NAME VALUE …]", help="More settings, as for redis-server."),
    ] = None,
) -> None:
    """Start a server with task queues, with safe settings, in the foreground.

    It keeps its data in a folder, in an append-only file. It becomes the server's process, so signals go to the server:
    Ctrl-C or SIGTERM ends it and loses nothing. The exit status is 2 for bad usage, 1 if it can't be started, and then
    the server's own.
    """
    wanted = Wanted(
        port, tuple(listen or ()), data, password_file, make_password, maxmemory, config, server, module,
        tuple(extra or ()),
    )  # fmt: skip
    try:
        prepared = prepare(wanted)
        for line in first_lines(prepared):
            output.line(line)
        prepared.become()
    except ValueError as error:
        refuse(str(error), 2)
    except TaskslotError as error:
        refuse(str(error), 1)
    except OSError as error:
        refuse(reason(error), 1)


def first_lines(prepared: Prepared) -> Iterator[str]:
    """What there is to know about the server, before its own log."""
    settings = prepared.settings
    places = list(map(bracketed, settings.listen or ("127.0.0.1", "::1")))
    yield f"taskslot {__version__} on {prepared.version}"
    rows = [("listens on", ", ".join(f"{place}:{settings.port}" for place in places))]
    rows.append(("data", str(settings.data)))
    limit = (
        f"at most {figures.size(settings.maxmemory)}; then pushes are refused"
        if settings.maxmemory
        else "no limit"
    )
    rows.append(("memory", limit))
    rows.append(("password", of_password(prepared)))
    rows.append(("connect", f"export TASKSLOT_URL={url(prepared, places[0])}"))
    rows.append(("stop", f"Ctrl-C, or kill {os.getpid()}"))
    for name, text in rows:
        yield f"  {name:<10}  {text}"
    yield ""


def of_password(prepared: Prepared) -> str:
    """Where the password is. A new one is shown, this once."""
    found = prepared.password
    if found is None:
        return "none: every program on this machine can connect (--make-password)"
    if found.file is None:
        return f"that of {VARIABLE}"
    shown = f"{found.secret.decode()}  (shown only now; kept in {found.file})"
    return shown if found.is_new else f"in {found.file}"


def url(prepared: Prepared, place: str) -> str:
    """The URL of the server for a shell, which reads the password where it is."""
    anywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
    address = f"{anywhere.get(place, place)}:{prepared.settings.port}"
    found = prepared.password
    if found is None:
        return f"redis://{address}"
    if found.file is None:
        given, secret = "", f"${VARIABLE}"
    else:
        secret = f"$(cat {shlex.quote(os.path.abspath(found.file))})"
        given = f' {VARIABLE}="{secret}"'
    # In a URL, some characters would have to be written as %2F.
    is_plain = quote(found.secret, safe="").encode() == found.secret
    return f'"redis://:{secret}@{address}"' if is_plain else f"redis://{address}{given}"
