"""Who may read the page, and who may change things by it.

Without `Write`, nothing can be changed. Without `Read`, everybody who reaches the page can read it. Each asks for a
password, or trusts a header that a proxy in front of the page sets. Who may change things may also read.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Self

from starlette.requests import Request

# A session ends this long after one signed in, and this long after one last did something.
SESSION_S, IDLE_S, RENEW_S = 7 * 86400, 12 * 3600, 600
# scrypt takes 16 MiB and about 50 ms with these.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1
SHORTEST_PASSWORD = 8
# Wrong passwords from one address before it has to wait; the longest wait; the addresses that are remembered.
FREE_TRIES, LONGEST_WAIT_S, MOST_ADDRESSES = 5, 300.0, 10_000


@dataclass(frozen=True)
class Door:
    """A password, or the name of a header that says who it is. Made by `by_password` and `by_header`."""

    secret: str = field(default="", repr=False)
    header: str = ""
    users: frozenset[str] | None = None

    @classmethod
    def by_password(cls, secret: str) -> Self:
        """Ask for a password: itself, or its hash by `hashed`. Raises ValueError if it is shorter than 8 letters."""
        if len(secret) < SHORTEST_PASSWORD:
            raise ValueError(f"the password must have at least {SHORTEST_PASSWORD} letters")
        if secret.startswith("scrypt:"):
            parts_of(secret)
        return cls(secret=secret)

    @classmethod
    def by_header(cls, name: str, users: set[str] | None = None) -> Self:
        """Trust a header that a proxy sets to the user's name; with `users`, only these names.

        The proxy must remove the header from what browsers send, and nobody else may reach the page.
        """
        if not name or not name.replace("-", "").isalnum() or not name.isascii():
            raise ValueError("the header must be a name such as X-Forwarded-User")
        return cls(header=name.lower(), users=None if users is None else frozenset(users))

    def fits(self, password: str) -> bool:
        """Whether this is the password."""
        return bool(self.secret) and verify(self.secret, password)

    def named(self, request: Request) -> str:
        """The user that the header names; empty if nobody or somebody else."""
        name = request.headers.get(self.header, "").strip() if self.header else ""
        return name if self.users is None or name in self.users else ""


class Read(Door):
    """What it takes to read the page."""


class Write(Door):
    """What it takes to change things by the page."""


@dataclass(frozen=True)
class Visitor:
    """Who sent a request, as far as known, and what this person may do. `name` is for the log."""

    name: str = ""
    may_read: bool = False
    may_write: bool = False
    by_session: bool = False
    by_token: bool = False  # a program, which may only leave marks


@dataclass
class Rights:
    """Decides by the doors, the session and the headers of a request."""

    read: Read | None = None
    write: Write | None = None
    _left: OrderedDict[str, float] = field(default_factory=OrderedDict)

    @property
    def asks_for_password(self) -> bool:
        """Whether one can sign in."""
        return any(door is not None and bool(door.secret) for door in (self.read, self.write))

    def signing_key(self, secret: str) -> str:
        """What signs the sessions. With another password or header than before, no session of before counts."""
        doors = [f"{door.secret}|{door.header}" if door else "" for door in (self.read, self.write)]
        key = secret.encode("utf-8", "surrogateescape")
        return hmac.new(key, repr(doors).encode("utf-8", "backslashreplace"), "sha256").hexdigest()

    def visitor(self, request: Request) -> Visitor:
        """Who sent a request. A header counts before a session."""
        session = self._session(request)
        level = str(session.get("level", ""))
        by_write = self.write.named(request) if self.write else ""
        by_read = self.read.named(request) if self.read else ""
        may_write = bool(by_write) or (level == "write" and self.write is not None)
        may_read = may_write or bool(by_read) or self.read is None or level == "read"
        name = by_write or by_read or str(session.get("user", ""))
        return Visitor(name, may_read, may_write, bool(level) and not (by_write or by_read))

    def level_of(self, password: str) -> str:
        """What a password opens: `write`, `read`, or nothing (the empty text)."""
        if self.write is not None and self.write.fits(password):
            return "write"
        return "read" if self.read is not None and self.read.fits(password) else ""

    def sign_in(self, request: Request, level: str, user: str) -> None:
        """Begin a new session. The old one's token is gone, so a session that was planted is of no use."""
        request.session.clear()
        now = time.time()
        request.session.update(
            level=level,
            user=user[:100],
            id=secrets.token_urlsafe(16),
            since=now,
            csrf=secrets.token_urlsafe(24),
        )

    def sign_out(self, request: Request) -> None:
        """End the session, also for those who have copied its cookie."""
        if named := str(request.session.get("id", "")):
            self._left[named] = time.time() + SESSION_S
            while len(self._left) > MOST_ADDRESSES:
                self._left.popitem(last=False)
        request.session.clear()

    def keep(self, request: Request) -> None:
        """Sign the session anew now and then, so that it ends after idle time only."""
        now = time.time()
        if "level" in request.session and now - float(request.session.get("seen", 0.0)) > RENEW_S:
            request.session["seen"] = now

    def _session(self, request: Request) -> dict[str, object]:
        """The session if it counts: not too old, and not signed out."""
        session: dict[str, object] = request.session
        since = session.get("since")
        is_young = isinstance(since, float) and time.time() - since < SESSION_S
        return session if is_young and session.get("id") not in self._left else {}


def csrf_of(request: Request) -> str:
    """The session's token, which each form carries. A session that has none gets one."""
    if "csrf" not in request.session:
        request.session["csrf"] = secrets.token_urlsafe(24)
    return str(request.session["csrf"])


def has_token(request: Request, given: str) -> bool:
    """Whether a request carries its session's token."""
    expected = str(request.session.get("csrf", ""))
    return bool(expected) and same(expected, given)


# ---- passwords


def hashed(password: str) -> str:
    """A password's hash for `by_password`, so that no file holds the password itself."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{digest(password, salt).hex()}"


def verify(secret: str, password: str) -> bool:
    """Whether a password is the secret, or has it as its hash."""
    if not secret.startswith("scrypt:"):
        return same(secret, password)
    salt, expected = parts_of(secret)
    return hmac.compare_digest(digest(password, salt), expected)


def parts_of(secret: str) -> tuple[bytes, bytes]:
    """The salt and the digest of a hash. Raises ValueError."""
    try:
        _, salt, expected = secret.split(":")
        return bytes.fromhex(salt), bytes.fromhex(expected)
    except ValueError:
        raise ValueError("the hash of the password can't be read: its form is scrypt:salt:digest") from None


def digest(password: str, salt: bytes) -> bytes:
    """The scrypt digest of a password."""
    data = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(data, salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, dklen=32)


def same(expected: str, given: str) -> bool:
    """Whether two texts are equal, in a time that doesn't tell where they differ."""
    return hmac.compare_digest(
        expected.encode("utf-8", "surrogateescape"), given.encode("utf-8", "surrogateescape")
    )


@dataclass
class Tries:
    """Slows down who guesses passwords: after some wrong ones from an address, each costs twice the wait.

    Not for several threads at a time.
    """

    _wrong: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)

    def wait_s(self, address: str) -> float:
        """How long this address has to wait before its next try; 0 if it may try now."""
        return max(0.0, self._wrong.get(address, (0, 0.0))[1] - time.monotonic())

    def was_wrong(self, address: str) -> None:
        """Note a wrong password."""
        count = self._wrong.pop(address, (0, 0.0))[0] + 1
        wait_s = 0.0 if count < FREE_TRIES else min(LONGEST_WAIT_S, 2.0 ** min(count - FREE_TRIES, 20))
        self._wrong[address] = (count, time.monotonic() + wait_s)
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def was_right(self, address: str) -> None:
        """Forget the wrong ones."""
        self._wrong.pop(address, None)
