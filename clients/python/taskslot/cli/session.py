"""What all commands share: the connection and output options, and the reporting of errors.

A command is a function whose first parameter is a `Session`. The decorator `command` replaces that parameter with the
shared options. They can also stand before the command's name: `taskslot --json info mail` is the same as
`taskslot info mail --json`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .. import Queue, ShardedQueue, password
from ..clients import is_of_client
from ..connection import DEFAULT_URL, Address, connect, has_password, read_address, with_password
from ..errors import TaskslotError
from ..tracebacks import asks_for_password
from . import output

PANEL = "Connection and output"
AnyQueue = Queue | ShardedQueue

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name, which is its key.")]

HolderOption = Annotated[
    str | None, typer.Option("--unique", metavar="TOKEN", help="The task that holds this token now.")
]

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        rich_help_panel=PANEL,
        help=f"The server, as redis://, rediss://, valkey:// or unix://. Any node of a cluster. "
        f"(env TASKSLOT_URL, default {DEFAULT_URL})",
    ),
]
SentinelOption = Annotated[
    str | None,
    typer.Option(
        "--sentinel",
        metavar="HOST:PORT,…",
        rich_help_panel=PANEL,
        help="Ask these Sentinels for the primary.",
    ),
]
ServiceOption = Annotated[
    str | None,
    typer.Option(
        "--service", metavar="NAME", rich_help_panel=PANEL, help="The service that the Sentinels monitor."
    ),
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        rich_help_panel=PANEL,
        help=f"A file with the server's password in its only line. (env {password.VARIABLE})",
    ),
]
ShardsOption = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="N",
        min=1,
        max=16384,
        rich_help_panel=PANEL,
        help="The number of shards of the queue. (env TASKSLOT_SHARDS)",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=PANEL, help="Write JSON lines, for scripts.")
]


@dataclass
class Session:
    """One run of a command: its shared options, its client and the queues that it opened."""

    url: str | None = None
    sentinel: str | None = None
    service: str | None = None
    password_file: Path | None = None
    shards: int | None = None
    json: bool = False
    _opened: list[AnyQueue] = field(default_factory=list)

    @cached_property
    def address(self) -> Address:
        """Where the server is, with the password. Raises ValueError, and OSError for the file of the password."""
        url = self.url or os.environ.get("TASKSLOT_URL") or DEFAULT_URL
        found = read_address(url, self.sentinel, self.service)
        if self.password_file is not None:
            return with_password(found, password.of_file(self.password_file))
        secret = None if has_password(found) else password.of_environment()
        return found if secret is None else with_password(found, secret)

    @cached_property
    def client(self) -> Any:
        """A connected client."""
        return connect(self.address)

    def queue(self, name: str) -> AnyQueue:
        """The queue; with `--shards`, the sharded queue."""
        number = self.shards or shards_of_environment()
        made: AnyQueue = Queue(self.client, name)
        if number is not None:
            made = ShardedQueue(self.client, name, shards=number)
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Close all connections."""
        for queue in self._opened:
            queue.close()
        if "client" in self.__dict__:
            self.client.close()


def assigned(what: str, words: Sequence[str]) -> dict[str, str]:
    """Words of the form `name=value` as a map. Raises ValueError, which names `what` takes them."""
    if bad := [word for word in words if "=" not in word]:
        raise ValueError(f"{what} takes name=value, not {bad[0]}")
    return dict(word.split("=", 1) for word in words)


def shards_of_environment() -> int | None:
    """The value of TASKSLOT_SHARDS. Read here, not by typer, so that --shards before the command's name wins."""
    text = os.environ.get("TASKSLOT_SHARDS", "")
    if text and not text.isdigit():
        raise ValueError("TASKSLOT_SHARDS must be a number from 1 to 16384")
    return int(text) if text else None


SHARED = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("url", None, UrlOption),
        ("sentinel", None, SentinelOption),
        ("service", None, ServiceOption),
        ("password_file", None, PasswordFileOption),
        ("shards", None, ShardsOption),
        ("json", False, JsonOption),
    )
]


def command(app: typer.Typer, **options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function `f(session, …)` a command of the app."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*, context: typer.Context, **given: Any) -> None:
            shared = {one.name: given.pop(one.name) for one in SHARED}
            before: Session = context.obj or Session()
            session = Session(**{name: value or getattr(before, name) for name, value in shared.items()})
            with_errors_reported(lambda: function(session, **given), session)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        # Typer reads the options of a command from its signature.
        parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *SHARED, context]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(**options)(run)
        return function

    return register


def with_errors_reported(work: Callable[[], None], session: Session) -> None:
    """Run a command. An error becomes one line on stderr and an exit status, never a traceback."""
    try:
        try:
            work()
        finally:
            session.close()
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except ValueError as error:
        refuse(str(error), 2)
    except TaskslotError as error:
        refuse(str(error), 1)
    except OSError as error:
        refuse(reason(error), 1)
    except Exception as error:
        if not is_of_client(error):
            raise
        refuse(f"{session.address}: {of_client(error)}", 1)


def reason(error: OSError) -> str:
    """The text of an error of the system, with the file that it is about."""
    return (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error))


def refuse(text: str, status: int) -> NoReturn:
    """Write one line to stderr and exit."""
    output.note("taskslot: " + " ".join(text.split()))
    raise typer.Exit(status)


def of_client(error: Exception) -> str:
    """The text of an error of the client, with what to do if the server asks for a password."""
    wanted = "it asks for a password: TASKSLOT_PASSWORD, or --password-file"
    return wanted if asks_for_password(error) else str(error)
