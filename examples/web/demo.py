"""The parts of the demo: a server or a cluster, workers, a producer and the page, each a process of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.cluster import Cluster
from harness.server import ROOT, Installed, Server, end_with_parent, free_port, wait_until

HERE = Path(__file__).parent
PROGRAMS = ("shop.py", "producer.py")
WORKER = [
    sys.executable,
    "-m",
    "taskslot",
    "worker",
    "shop:app",
    "--grace-ms",
    "1500",
    "--log-level",
    "error",
]
# The options of each worker. Thumbnails have too few places, and nobody works on the newsletter.
WORKERS = (
    ["--name", "web1", "--queues", "emails,reports,reminders", "-c", "8"],
    ["--name", "web2", "--queues", "thumbnails", "-c", "2"],
    ["--name", "web3", "--queues", "payments,webhooks", "-c", "6"],
    ["--name", "web4", "--queues", "orders", "-c", "4"],
    ["--name", "batch1", "--queues", "albums,videos", "-c", "6"],
)
PAGE_IN_S, STOP_IN_S = 30.0, 15.0


class Demo:
    """All processes of the demo, from the start to `stop`. `page` is the address of the page.

    The page listens on `port` of 127.0.0.1, a free one for 0. Everything is stopped at the end of a `with` block too.
    """

    def __init__(self, installed: Installed, *, is_cluster: bool = False, port: int = 0) -> None:
        self._port_hold = None
        if not port:
            port, self._port_hold = free_port()
        self.page = f"http://127.0.0.1:{port}"
        self.password = secrets.token_urlsafe(9)
        self.servers: Server | Cluster
        self._processes: list[subprocess.Popen[bytes]] = []
        # Data on disk as in production, so the page has no warning about it.
        kept = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory": "512mb",
            "maxmemory_policy": "noeviction",
        }
        if is_cluster:
            self.servers = Cluster(installed, **kept)
            redis_port = self.servers.nodes[0].port
        else:
            self.servers = Server(installed, port=True, **kept)
            redis_port = self.servers.port
        self.url = f"redis://127.0.0.1:{redis_port}"
        # The shop runs in a folder of its own, whose name is in the tracebacks of its errors.
        self.folder = Path(tempfile.mkdtemp(prefix="shop-"))
        for name in PROGRAMS:
            shutil.copy(HERE / name, self.folder)
        self._env = {
            **os.environ,
            "DEMO_URL": self.url,
            **({"DEMO_CLUSTER": "1"} if is_cluster else {}),
            "TASKSLOT_URL": self.url,
            "TASKSLOT_WEB_PASSWORD": self.password,
            "PYTHONPATH": str(ROOT / "clients/python"),
        }
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        for options in WORKERS:
            self._run([*WORKER, *options])
        self._run([sys.executable, "producer.py"])
        listen = self.page.removeprefix("http://")
        page = self._run([sys.executable, "-m", "taskslot", "web", "--write", "--listen", listen])
        wait_until(lambda: page.poll() is not None or answers(self.page), "the page answers", PAGE_IN_S)
        if page.poll() is not None:
            raise SystemExit(f"the page ended with status {page.returncode}")

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Each in a session of its own, so that Ctrl-C reaches only this program, which stops them in order.
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        self._processes.append(process)
        return process

    def ended(self) -> list[str]:
        """The processes that have ended by themselves, as text."""
        return [
            f"{' '.join(map(str, one.args))}: status {one.returncode}"
            for one in self._processes
            if one.poll() is not None
        ]

    def stop(self) -> None:
        """Stop all processes, the page first, and the servers at last."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_IN_S
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.servers.discard()
        if self._port_hold is not None:
            self._port_hold.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def answers(page: str) -> bool:
    """Whether the page is there, and the server behind it."""
    try:
        with urllib.request.urlopen(f"{page}/health", timeout=5):
            return True
    except OSError:
        return False
