"""Faults of clients' connections: killed and unblocked by the server, and thousands that end at once."""

from __future__ import annotations

import os
import socket
import struct

from harness.server import Server, wait_until

from chaos.injector import injector
from chaos.stage import Stage

# Closing with this option sends RST instead of FIN.
RESET = struct.pack("ii", 1, 0)
CROWD = 2_000
CLAIM = b"*4\r\n$10\r\nTASK.CLAIM\r\n$5\r\ncrowd\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n"


@injector("CLIENT KILL", is_command=True)
def kill_clients(stage: Stage) -> None:
    """CLIENT KILL of all clients."""
    node, server = stage.any_primary()
    with stage.fault("CLIENT KILL", node) as fault, server.client() as client:
        fault.permits.closes = ["*"]
        fault.details["killed"] = client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@injector("CLIENT UNBLOCK", is_command=True)
def unblock(stage: Stage) -> None:
    """CLIENT UNBLOCK of all clients that wait, half of them with an error."""
    node, server = stage.any_primary()
    with stage.fault("CLIENT UNBLOCK", node) as fault, server.client() as client:
        for one in client.client_list():
            if "b" in one["flags"]:
                how = stage.random.choice(["TIMEOUT", "ERROR"])
                freed = client.execute_command("CLIENT", "UNBLOCK", one["id"], how)
                fault.details[how] = fault.details.get(how, 0) + freed


@injector(f"{CROWD:,} waiting workers die")
def crowd(stage: Stage) -> None:
    """Thousands of waiting workers are cut off at once. Afterwards the server has neither their sockets nor waits."""
    node, server = stage.any_primary()
    with stage.fault(f"{CROWD:,} waiting workers die", node) as fault, server.client() as client:
        before = descriptors(server)
        waiting = client.info("clients")["blocked_clients"]
        sockets = [waiting_socket(server) for _ in range(CROWD)]
        wait_until(
            lambda: client.info("clients")["blocked_clients"] >= waiting + CROWD * 0.9, "the crowd waits"
        )
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.close()
        # The load's own connections come and go.
        wait_until(
            lambda: client.info("clients")["blocked_clients"] < waiting + 50, "nobody of the crowd waits"
        )
        wait_until(lambda: descriptors(server) < before + 50, "the sockets of the crowd are closed")
        fault.details |= {"descriptors": [before, descriptors(server)]}


def waiting_socket(server: Server) -> socket.socket:
    """A connection whose worker waits in a queue of its own."""
    made = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    made.sendall(CLAIM)
    return made


def descriptors(server: Server) -> int:
    """The number of open files of the server's process."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))
