"""`taskslot metrics`: serves the metrics of all queues to Prometheus, and sends them to OpenTelemetry."""

from __future__ import annotations

import importlib.util
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ..addresses import address_of
from ..connection import connect
from . import logs, output
from .listening import listen_address, refused
from .session import Session, command

if TYPE_CHECKING:
    from ..metrics import Exporter

LISTEN = "127.0.0.1:9464"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app)(metrics)


def metrics(
    session: Session,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help=f"Where Prometheus scrapes; :9464 for all addresses. (default {LISTEN}, unless --otlp is given)",
        ),
    ] = None,
    queues: Annotated[
        int,
        typer.Option(
            min=0, max=20_000, help="How many queues have metrics of their own; the others are one."
        ),
    ] = 500,
    histograms: Annotated[
        bool, typer.Option(help="Show all wait and run times as histograms: 52 series for each queue.")
    ] = True,
    shards_apart: Annotated[
        bool, typer.Option("--shards-apart", help="Take each shard for a queue.")
    ] = False,
    timeout_ms: Annotated[
        int, typer.Option(min=100, help="How long a scrape can take. Keep it below Prometheus' own time.")
    ] = 8000,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Send the metrics to this collector of OpenTelemetry, by OTLP over HTTP."
        ),
    ] = None,
    interval_ms: Annotated[int, typer.Option(min=1000, help="How often --otlp sends.")] = 15_000,
    once: Annotated[
        bool, typer.Option("--once", help="Print the metrics and exit, with status 1 if no server answers.")
    ] = False,
) -> None:
    """Serve metrics of all queues to Prometheus, until Ctrl-C."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise ValueError("metrics need the package prometheus-client: pip install 'taskslot[metrics]'")
    from ..metrics import Exporter

    address = session.address
    logs.set_up("text", "info", None)
    exporter = Exporter(
        lambda: connect(address),
        queues=queues,
        histograms=histograms,
        shards_apart=shards_apart,
        whole=once,
        timeout_s=timeout_ms / 1000,
    )
    with ExitStack() as stack:
        stack.callback(exporter.close)
        if once:
            return print_once(exporter)
        run(
            stack,
            exporter,
            str(address),
            listen or (LISTEN if otlp is None else None),
            otlp,
            interval_ms / 1000,
        )


def run(
    stack: ExitStack,
    exporter: Exporter,
    address: str,
    listen: str | None,
    otlp: str | None,
    interval_s: float,
) -> None:
    """Send and serve the metrics of a server until SIGINT or SIGTERM."""
    stop = stopped_by_signals()
    if otlp is not None:
        push(stack, exporter, otlp, interval_s)
        output.note(f"taskslot metrics: sends what {address} shows to {urlsplit(otlp).hostname}")
    if listen is not None:
        host, port = serve(stack, exporter, listen)
        output.note(f"taskslot metrics: http://{address_of(host, port)}/metrics shows {address}")
    stop.wait()


def print_once(exporter: Exporter) -> None:
    """Print the metrics, as for a file that node_exporter reads."""
    text = exporter.answer()[1].decode()
    output.line(text.rstrip("\n"))
    if "\ntaskslot_up 1.0\n" not in text:
        raise typer.Exit(1)


def stopped_by_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def serve(stack: ExitStack, exporter: Exporter, listen: str) -> tuple[str, int]:
    """Answer scrapes on threads of their own, until the stack is closed. Also shows figures of this process."""
    from prometheus_client import ProcessCollector, start_http_server

    host, port = listen_address(listen)
    ProcessCollector(registry=exporter.registry)
    try:
        server, thread = start_http_server(port, host, registry=exporter.registry)
    except OSError as error:
        raise refused(error, host, port) from None
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return host, server.server_port


def push(stack: ExitStack, exporter: Exporter, url: str, interval_s: float) -> None:
    """Send metrics to a collector until the stack is closed. Raises ValueError."""
    try:
        from ..metrics.otlp import Push
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    sender = Push(exporter, url, interval_s)
    sender.start()
    stack.callback(sender.stop)
