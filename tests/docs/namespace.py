"""Runs the Python blocks of a page in one process, so that they share their names.

    python namespace.py IN OUT      the process: reads requests from file descriptor IN, writes replies to OUT

A request is a line of JSON: `source`, its `line` in the `file`, and `single`: print the value, as `>>> ` does.
A reply has `output` and `error`, which is a traceback or null.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import select
import subprocess
import sys
import traceback
import types
from pathlib import Path

# The longest that a block, or a statement after `>>> `, can take.
TIMEOUT_S = 30


class Namespace:
    """Starts the process and talks to it."""

    def __init__(self, folder: Path, environment: dict[str, str], page: Path):
        self._page = str(page)
        requests, self._write = os.pipe()
        self._read, replies = os.pipe()
        self._log = open(folder / ".python-output", "wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(requests), str(replies)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(requests, replies),
            start_new_session=True,
        )
        os.close(requests)
        os.close(replies)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def run(self, source: str, line: int, single: bool = False) -> tuple[str, str | None]:
        """Run code from a line of the page. Returns its output, and a traceback if it failed."""
        request = {"source": source, "line": line, "file": self._page, "single": single}
        os.write(self._write, json.dumps(request).encode() + b"\n")
        reply = b""
        while not reply.endswith(b"\n"):
            ready, _, _ = select.select([self._read], [], [], TIMEOUT_S)
            piece = os.read(self._read, 65536) if ready else b""
            if not piece:
                return "", "the Python process ended" if ready else f"not finished after {TIMEOUT_S} s"
            reply += piece
        answer = json.loads(reply)
        return answer["output"], answer["error"]

    def close(self) -> None:
        """End the process."""
        os.close(self._write)
        os.close(self._read)
        self._process.kill()
        self._process.wait()
        self._log.close()


# ---- the process itself


def serve(requests: int, replies: int) -> None:
    """Serve requests until the pipe is closed."""
    sys.path[0] = ""  # the page's folder, not this file's
    page = sys.modules["page"] = types.ModuleType("page")
    with asyncio.Runner() as runner, open(requests) as lines, open(replies, "w") as out:
        for line in lines:
            output, error = _run(json.loads(line), page.__dict__, runner)
            out.write(json.dumps({"output": output, "error": error}) + "\n")
            out.flush()


def _run(request: dict, names: dict, runner: asyncio.Runner) -> tuple[str, str | None]:
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            # Empty lines before it, so that tracebacks show the line numbers of the page.
            source = "\n" * (request["line"] - 1) + request["source"]
            mode = "single" if request["single"] else "exec"
            code = compile(source, request["file"], mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = eval(code, names)
            if inspect.iscoroutine(value):
                runner.run(_awaited(value))
    except BaseException as error:
        # Leave out the frames of this file.
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename != request["file"]:
            frames = frames.tb_next
        return output.getvalue(), "".join(traceback.format_exception(type(error), error, frames))
    return output.getvalue(), None


async def _awaited(value):
    return await value


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
