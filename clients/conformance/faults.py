"""What can go wrong with a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .sent import Sent

How = Literal["not executed, connection cut", "executed, connection cut", "refused", "reply held"]
Kind = Literal["claim", "ack", "fail", "requeue", "extend", "any"]

NAMES: dict[str, tuple[str, ...]] = {
    "claim": ("TASK.CLAIM", "TASK.NEXT"),
    "ack": ("TASK.ACK", "TASK.NEXT"),
    "fail": ("TASK.FAIL",),
    "requeue": ("TASK.REQUEUE",),
    "extend": ("TASK.EXTEND",),
}


@dataclass(eq=False)
class Fault:
    """Something that goes wrong with the next `times` commands of a kind, which are noted in `met`.

    `error` is the error of a refused command. A refusal can be limited to commands with a `RESULT` that would be kept.
    """

    kind: Kind
    how: How
    times: int = 1
    error: str = ""
    only_kept_results: bool = False
    met: list[Sent] = field(default_factory=list)


def matches(fault: Fault, sent: Sent) -> bool:
    """Whether a fault is for this command."""
    if fault.only_kept_results and ("RESULT" not in sent.options or sent.options.get("RETAIN") == b"0"):
        return False
    return fault.kind == "any" or sent.name in NAMES[fault.kind]
