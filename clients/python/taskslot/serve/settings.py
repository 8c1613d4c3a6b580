"""The configuration of a server: redis.conf, the user's file, and what the options say, in this order. Pure functions.

The last value of a setting counts, so neither file can change what an option of `taskslot serve` decides.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..addresses import is_loopback

# The settings that an option decides, and that option.
DECIDED = {
    "port": "--port",
    "bind": "--listen",
    "dir": "--data",
    "protected-mode": "--listen and --password-file",
    "requirepass": "--password-file or --make-password",
}
FOREGROUND = ("daemonize", "supervised")
# Every user of the machine can read the arguments of a program.
SECRETS = (
    "requirepass",
    "masterauth",
    "primaryauth",
    "user",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
)
NAME = re.compile(r"[a-z0-9._-]+")
SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !#$%&'()*+,-./:;<=>?@[]^_`{|}~"
)
HEAD = """\
# Made by `taskslot serve` at each start. It is overwritten, also what CONFIG REWRITE writes here:
# put your own settings into a file, and give that to --config.
"""


@dataclass(frozen=True)
class Settings:
    """What the options say. `listen` is empty for the addresses of redis.conf, `maxmemory` 0 for no limit."""

    module: str
    data: Path
    port: int
    listen: tuple[str, ...]
    maxmemory: int
    password: bytes | None = None


def configuration(settings: Settings, base: bytes, user: bytes | None) -> bytes:
    """The configuration file: redis.conf, the user's file, the options. It can have a password in it.

    The files are copied: `include` takes some names of folders for patterns, and then includes nothing.
    """
    parts = [HEAD.encode(), base]
    if user is not None:
        parts.append(b"\n# ---- from --config\n\n" + user)
    lines = [b"daemonize no", b"protected-mode yes", b"port %d" % settings.port]
    if settings.listen:
        lines.append(b"bind " + b" ".join(map(quoted, settings.listen)))
    lines += [b"dir " + quoted(settings.data), b"maxmemory %d" % settings.maxmemory]
    lines.append(b"loadmodule " + quoted(settings.module))
    if settings.password is not None:
        lines.append(b"requirepass " + quoted(settings.password))
    return b"".join(parts) + b"\n# ---- from the options\n\n" + b"\n".join(lines) + b"\n"


def quoted(value: str | bytes | Path) -> bytes:
    """A value between quotes, with all other bytes as escape sequences, as servers read it."""
    data = value if isinstance(value, bytes) else os.fsencode(value)
    return b'"' + b"".join(bytes([one]) if one in SAFE else b"\\x%02x" % one for one in data) + b'"'


def addresses(given: Sequence[str]) -> tuple[str, ...]:
    """The addresses of `--listen`, each once. Raises ValueError for names of hosts."""
    found = [one.strip() for text in given for one in text.split(",") if one.strip()]
    if given and not found:
        raise ValueError("--listen takes an address, such as 127.0.0.1 or 0.0.0.0")
    for one in found:
        try:
            ipaddress.ip_address(one)
        except ValueError:
            raise ValueError(
                f"--listen takes an address, such as 127.0.0.1 or 0.0.0.0, not {one[:60]!r}"
            ) from None
    return tuple(dict.fromkeys(found))


def is_open(listen: Sequence[str]) -> bool:
    """Whether other machines can reach one of these addresses."""
    return not all(map(is_loopback, listen))


def refuse_decided(names: Sequence[str], origin: str) -> None:
    """Raise ValueError for a setting that an option decides."""
    for name in names:
        if name in DECIDED:
            raise ValueError(f"{origin} sets {name}: use {DECIDED[name]} instead")
        if name in FOREGROUND:
            raise ValueError(f"{origin} sets {name}: the server runs in the foreground")


def of_file(content: bytes) -> Iterator[tuple[str, str]]:
    """The settings of a configuration file: the name and the rest of each line."""
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        words = line.strip().split(None, 1)
        if words and not words[0].startswith("#"):
            yield words[0].lower(), words[1] if len(words) > 1 else ""


def of_arguments(extra: Sequence[str]) -> list[str]:
    """The names of the settings in arguments for the server. Raises ValueError, and never shows a value."""
    if extra and not extra[0].startswith("--"):
        raise ValueError("settings after -- have the form --name value, as for redis-server")
    names = [word[2:].lower() for word in extra if word.startswith("--") and len(word) > 2]
    # A server splits a word with a blank in it, and reads the rest as the value.
    if not all(NAME.fullmatch(name) for name in names):
        raise ValueError("settings after -- have the form --name value, each a word of its own")
    if "include" in names:
        raise ValueError("an argument after -- includes a file, which is not checked: give it to --config")
    refuse_decided(names, "an argument after --")
    if secret := next((name for name in names if name in SECRETS), None):
        raise ValueError(
            f"{secret} as an argument can be read by every user of this machine: put it into --config"
        )
    return names


def closes_the_door(extra: Sequence[str], user: Sequence[tuple[str, str]]) -> bool:
    """Whether the user's settings say who may connect: by an ACL file, or a user `default` with a password or off."""
    rules = [rest.lower().split() for name, rest in user if name == "user"]
    has_default = any(words[:1] == ["default"] and "nopass" not in words for words in rules)
    return has_default or value_of("aclfile", extra, user) is not None


def refuse_other_default_user(extra: Sequence[str], user: Sequence[tuple[str, str]]) -> None:
    """Raise ValueError for what would make the server ignore its password, and let everybody in."""
    if value_of("aclfile", extra, user) is not None:
        raise ValueError(
            "a server with an aclfile ignores its password: put the user `default` there, and give none"
        )
    if any(name == "user" and rest.split()[:1] == ["default"] for name, rest in user):
        raise ValueError("--config has the user `default`: put its password there, and give no other")


def value_of(name: str, extra: Sequence[str], user: Sequence[tuple[str, str]]) -> str | None:
    """The value that the user gives a setting: in the arguments, otherwise in the file."""
    words = [word.lower() for word in extra]
    if f"--{name}" in words[:-1]:
        return words[len(words) - 1 - words[::-1].index(f"--{name}") + 1]
    values = [rest for one, rest in user if one == name]
    return " ".join(shlex.split(values[-1])).lower() if values else None
