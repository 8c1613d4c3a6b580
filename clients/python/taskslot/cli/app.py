"""The command-line app: registers the commands, and reads the options that are given before a command's name."""

from typing import Annotated

import typer

from .. import __version__
from . import admin, batch, doctor, inspect, local, metrics, migrate, produce, serve, top, web, work, worker
from .session import (
    JsonOption,
    PasswordFileOption,
    SentinelOption,
    ServiceOption,
    Session,
    ShardsOption,
    UrlOption,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"taskslot {__version__}")
        raise typer.Exit()


@app.callback()
def shared(
    context: typer.Context,
    url: UrlOption = None,
    sentinel: SentinelOption = None,
    service: ServiceOption = None,
    password_file: PasswordFileOption = None,
    shards: ShardsOption = None,
    json: JsonOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Work with task queues in Redis and Valkey.

    The connection and output options can be given before or after the command's name.
    """
    context.obj = Session(url, sentinel, service, password_file, shards, json)


ALL = (
    produce, batch, work, worker, inspect, top, web, metrics, admin, migrate, local, serve, doctor,
)  # fmt: skip
for module in ALL:
    module.register(app)
