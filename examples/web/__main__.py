"""`make web`: the page with a living shop behind it, in the foreground until Ctrl-C.

It starts a server (or a cluster), five workers, a producer, and `taskslot web --write` with a password that it prints.
The shop has a queue that is well, one with too few places, dead tasks of three kinds of error, tenants with limits,
schedules, batches, delayed tasks, a paused queue and a queue of four shards. Nothing stays behind.
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from demo import Demo
from harness.server import SERVERS, Installed, ServerDied, identify


def introduction(demo: Demo) -> str:
    """What a newcomer can do now."""
    return f"""
The page:      {demo.page}
The password:  {demo.password}

The server:    {demo.url}
In another terminal: taskslot --url {demo.url} top

Things to try:
  - Dead: three kinds of error. Retry the TimeoutErrors: the bank is back by now. Remove those with a card that does
    not exist. The KeyErrors are a bug, and come back.
  - thumbnails: its two places are too few. The page says how many are needed.
  - webhooks, Groups: acme and globex have limits, and umbrella is paused. Resume it.
  - newsletter: paused, and nobody works on it.
  - albums, Batches: a new one each 40 s, with a callback that prints the album.

Ctrl-C stops everything and deletes the data.
"""


def chosen(name: str | None) -> Installed:
    """The server to run, by name (valkey-9.1) or path. The default is the first that is installed."""
    if name is None:
        return next(iter(SERVERS.values()))
    if name not in SERVERS and not Path(name).exists():
        raise SystemExit(f"{name} is not installed; installed are {', '.join(SERVERS)}")
    return SERVERS.get(name) or identify(name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make web", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--port", type=int, default=8080, help="the page's port on 127.0.0.1 (8080); 0 takes a free one"
    )
    parser.add_argument("--cluster", action="store_true", help="a cluster of 3 primaries and 3 replicas")
    parser.add_argument("--server", help=f"a name or a path; installed: {', '.join(SERVERS)}")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print("Starting …", flush=True)
        with Demo(chosen(options.server), is_cluster=options.cluster, port=options.port) as demo:
            print(introduction(demo), flush=True)
            told: set[str] = set()
            while True:
                time.sleep(0.5)
                for line in sorted(set(demo.ended()) - told):
                    told.add(line)
                    print(f"has ended: {line}", flush=True)
    except ServerDied as death:
        raise SystemExit(f"The server could not start.\n{death}") from None
    except KeyboardInterrupt:
        print("\nEverything has stopped.")


if __name__ == "__main__":
    main()
