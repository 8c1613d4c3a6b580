"""A primary that lies: it speaks the protocol of replication to a real replica, and sends what no primary would.

It answers the handshake, gives an RDB file, and then sends whatever a test wants, without an answer, as primaries do.
"""

from __future__ import annotations

import socket
import threading

from harness.server import Server, parse_commands, wait_until
from harness.talk import Talk, packed

ID = "f" * 40


class LyingPrimary:
    """`with LyingPrimary(rdb) as liar: liar.adopt(replica); liar.tell(replica, ["TASK._APPLY", …])`.

    `rdb` is a whole RDB file, which a replica loads first.
    """

    def __init__(self, rdb: bytes):
        self._rdb = rdb
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        # What was said after the file, in bytes: the replica counts them too.
        self._said = 0
        self._count = 0
        self._link: socket.socket | None = None
        self._is_linked = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> LyingPrimary:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()
        if self._link is not None:
            self._link.close()

    def _serve(self) -> None:
        """Answer one replica after the other; a replica that comes back gets the file again."""
        while True:
            try:
                link, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        data = b""
        try:
            while more := link.recv(65536):
                data += more
                commands, at = parse_commands(data)
                data = data[at:]
                for words in commands:
                    self._reply(link, [word.upper() for word in words])
        except OSError:
            pass  # the replica or the test has closed it

    def _reply(self, link: socket.socket, words: list[bytes]) -> None:
        match words:
            case [b"PING"]:
                link.sendall(b"+PONG\r\n")
            case [b"REPLCONF", b"ACK", *_]:
                pass
            case [b"PSYNC", *_]:
                head = f"+FULLRESYNC {ID} 0\r\n${len(self._rdb)}\r\n".encode()
                self._said = 0
                link.sendall(head + self._rdb)
                self._link = link
                self._is_linked.set()
            case _:
                link.sendall(b"+OK\r\n")

    def adopt(self, replica: Server) -> None:
        """Make a server the replica of this primary, and wait until it has loaded the file."""
        self._is_linked.clear()
        c = Talk(replica)
        assert c("REPLICAOF", "127.0.0.1", self.port) == "OK"
        assert self._is_linked.wait(20), "the replica asked for the data"
        wait_until(lambda: b"master_link_status:up" in c("INFO", "replication"), "the replica has loaded", 20)

    def tell(self, replica: Server, *commands: list) -> None:
        """Send these commands, and wait until the replica has run all of them."""
        self._count += 1
        said = b"".join(map(packed, [*commands, ["SET", "told", self._count]]))
        self._link.sendall(said)
        c, count = Talk(replica), str(self._count).encode()
        wait_until(lambda: c("GET", "told") == count, "the replica has heard everything", 60)


def rdb_of(server: Server) -> bytes:
    """The RDB file of a server's data."""
    assert Talk(server)("SAVE") == "OK"
    return (server.dir / "dump.rdb").read_bytes()
