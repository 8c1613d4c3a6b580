"""How a process of the load is told to stop: by SIGTERM, or because the runner has ended."""

from __future__ import annotations

import os
import signal
import threading

Stop = threading.Event


def hold_signals() -> None:
    """Keep SIGTERM for `stop_on_sigterm`, in all threads that start from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def stop_on_sigterm(stop: Stop) -> None:
    """Wait for SIGTERM on the main thread, then set the event. A process whose parent has gone stops too."""
    parent = os.getppid()
    while signal.sigtimedwait({signal.SIGTERM}, 1.0) is None and os.getppid() == parent:
        pass
    stop.set()
