"""Links between programs: they pass everything on in order, hold it while they are cut, and can be broken off."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from harness.network import Network
from harness.proxy import Proxy
from harness.server import Server, wait_synced, wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a program that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listens:

        def serve(connection: socket.socket) -> None:
            with connection, suppress(ConnectionError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listens.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listens.getsockname()[1]
        listens.shutdown(socket.SHUT_RDWR)


@contextmanager
def talks(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection through a proxy, with a generous time-out."""
    with socket.create_connection((proxy.host, proxy.port), timeout=20) as talk:
        yield talk


def read(talk: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    got = b""
    while len(got) < size:
        piece = talk.recv(size - len(got))
        assert piece, "the connection has ended"
        got += piece
    return got


def is_silent(talk: socket.socket) -> bool:
    """Whether nothing comes for a moment. A link that lets something through does so in far less."""
    talk.settimeout(0.05)
    try:
        return talk.recv(1, socket.MSG_PEEK) == b"never"
    except TimeoutError:
        return True
    finally:
        talk.settimeout(20)


def test_a_cut_link_holds_what_is_sent_and_passes_it_on_when_it_is_healed(echo):
    """Nothing comes while the link is cut; afterwards everything does, in order."""
    with Proxy(echo) as proxy, talks(proxy) as talk:
        talk.sendall(b"before ")
        assert read(talk, 7) == b"before "
        proxy.cut()
        talk.sendall(b"during ")
        assert is_silent(talk)
        proxy.heal()
        talk.sendall(b"after")
        assert read(talk, 12) == b"during after"


def test_a_connection_begun_while_a_link_is_cut_is_served_when_it_is_healed(echo):
    """The program behind the link sees the connection only then."""
    with Proxy(echo) as proxy:
        proxy.cut()
        with talks(proxy) as talk:
            talk.sendall(b"hello")
            assert is_silent(talk)
            proxy.heal()
            assert read(talk, 5) == b"hello"


def test_a_link_that_is_reset_breaks_off_its_connections_and_takes_new_ones(echo):
    """The client gets a reset, not an orderly end."""
    with Proxy(echo) as proxy:
        with talks(proxy) as talk:
            talk.sendall(b"1")
            assert read(talk, 1) == b"1"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                talk.recv(1)
        with talks(proxy) as talk:
            talk.sendall(b"2")
            assert read(talk, 1) == b"2"


def test_a_slow_link_keeps_the_order_of_large_data(echo):
    """More than the link and the sockets hold at a time comes back as it was sent."""
    data = bytes(range(256)) * 40_000
    with Proxy(echo, delay_s=0.001) as proxy, talks(proxy) as talk:
        threading.Thread(target=talk.sendall, args=(data,), daemon=True).start()
        assert read(talk, len(data)) == data


def test_an_end_goes_through_a_link(echo):
    """A program that is done is told so on the other side, after all bytes."""
    with Proxy(echo) as proxy, talks(proxy) as talk:
        talk.sendall(b"last")
        talk.shutdown(socket.SHUT_WR)
        assert read(talk, 4) == b"last"
        assert talk.recv(1) == b""


def test_servers_that_are_cut_off_from_each_other_go_on_once_the_network_is_whole(installed):
    """A replica behind a cut link stays as it is, and clients reach both. Once healed, it needs no new copy."""
    network = Network()
    primary = replica = None
    try:
        primary, replica = (Server(installed, port=True, env=network.environment) for _ in range(2))
        replica.replicate(primary)
        p, r = primary.client(), replica.client()
        before = p.info("stats")["sync_full"]
        network.cut([primary], [replica])
        offset = p.info("replication")["master_repl_offset"]
        p.execute_command("TASK.PUSH", "q", "x")
        wait_until(lambda: p.info("replication")["master_repl_offset"] > offset, "the primary has sent it")
        assert r.execute_command("TASK.LEN", "q") == 0
        network.heal()
        wait_synced(primary, replica)
        network.reset([replica], [primary])
        wait_until(lambda: p.info("stats")["sync_partial_ok"] == 1, "the replica has connected anew")
        wait_synced(primary, replica)
        assert r.execute_command("TASK.LEN", "q") == 1
        assert p.info("stats")["sync_full"] == before
    finally:
        for server in filter(None, (primary, replica)):
            server.discard()
        network.close()
