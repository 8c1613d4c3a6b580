"""The command `taskslot doctor`: says what is wrong with a server, and what mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from ..clients import Client, is_of_client
from ..doctor.examine import examine, status
from ..doctor.facts import Facts
from ..doctor.finding import Finding
from ..doctor.gather import gather
from ..figures import plural
from ..overview.attention import Severity
from ..printable import printable
from . import output
from .session import Session, command, of_client, refuse

WORDS = {Severity.ACT: "act", Severity.LOOK: "look", Severity.KNOW: "know"}
# For monitoring: a server that does not answer is as bad as a finding that needs somebody now.
AWAY = 2


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app)(doctor)


def doctor(
    session: Session,
    ping: Annotated[
        bool, typer.Option("--ping", help="Only check that the server answers and has the module.")
    ] = False,
) -> None:
    """Say what is wrong with a server, a cluster or a service of Sentinel, and what mends it.

    It changes nothing. What the user may not ask is said. The exit status is 0 if nothing needs a person, 1 if
    something is worth a look, and 2 if something needs somebody now, no server answers, or nothing could be checked.
    """
    address = session.address
    try:
        if ping:
            answer = session.client.execute_command("TASK.HELP")
            return say_that_it_answers(session, answer)
        facts = gather(session.client)
    except Exception as error:
        if not isinstance(error, OSError) and not is_of_client(error):
            raise
        meaning = Client(session.client).meaning(error) if ping and "client" in vars(session) else None
        refuse(f"{address}: {meaning or of_client(error)}", AWAY)
    if facts.is_empty:
        refuse(f"{address}: nothing could be checked: {facts.unchecked[0]}", AWAY)
    findings = examine(facts)
    if session.json:
        for value in as_json(facts, findings):
            output.json_line(value)
    else:
        for line in report(facts, findings):
            output.line(printable(line))
    raise typer.Exit(status(findings))


def say_that_it_answers(session: Session, answer: list[bytes | str]) -> None:
    """One line: the address, and the first line of TASK.HELP, which has the module's version."""
    first = answer[0].decode() if isinstance(answer[0], bytes) else answer[0]
    version = first.partition(":")[0]
    if session.json:
        output.json_line({"address": str(session.address), "module": version.removeprefix("taskslot ")})
    else:
        output.line(printable(f"{session.address} answers: {version}"))


def report(facts: Facts, findings: list[Finding]) -> Iterator[str]:
    """The report for people: the servers, the findings with the same words together, what could not be checked."""
    for node in facts.nodes:
        info = node.info
        what = f"{info.server.capitalize()} {info.server_version}" if info.server else "a server"
        module = (
            f"taskslot {info.module}"
            if info.module
            else "taskslot unknown"
            if info.trouble
            else "no taskslot"
        )
        yield f"{info.address}  {info.role or 'server'}, {what}, {module}"
    for same in together(findings):
        first = same[0]
        places = [one.node for one in same if one.node]
        # With one server, its address is above.
        where = f"{', '.join(places)}: " if places and len(facts.nodes) > 1 else ""
        yield ""
        yield f"{WORDS[first.severity]:<5} {where}{first.what}"
        yield f"      why:  {first.why}"
        yield f"      mend: {first.mend}"
    if facts.unchecked:
        yield ""
        yield "could not be checked:"
        yield from (f"      {line}" for line in facts.unchecked)
    yield ""
    yield summary(findings, is_whole=not facts.unchecked)


def together(findings: Iterable[Finding]) -> list[list[Finding]]:
    """The findings, those of several servers with the same words in one list."""
    found: dict[Finding, list[Finding]] = {}
    for finding in findings:
        found.setdefault(dataclasses.replace(finding, node=""), []).append(finding)
    return list(found.values())


def summary(findings: list[Finding], is_whole: bool) -> str:
    """The last line."""
    counts = {
        severity: len([same for same in together(findings) if same[0].severity == severity])
        for severity in WORDS
    }
    parts = []
    if counts[Severity.ACT]:
        parts.append(f"{counts[Severity.ACT]} to act on now")
    if counts[Severity.LOOK]:
        parts.append(f"{counts[Severity.LOOK]} worth a look")
    nothing = "nothing wrong was found" + ("" if is_whole else " in what could be checked")
    wrong = ", ".join(parts) or nothing
    return wrong + (f"; {plural(counts[Severity.KNOW], 'note')}" if counts[Severity.KNOW] else "")


def as_json(facts: Facts, findings: list[Finding]) -> Iterator[dict[str, object]]:
    """A line for each server, each finding, and each thing that could not be checked."""
    for node in facts.nodes:
        info = node.info
        yield {
            "kind": "node", "node": info.address, "role": info.role, "server": info.server,
            "server_version": info.server_version, "module": info.module,
        }  # fmt: skip
    for finding in findings:
        fields = dataclasses.asdict(finding) | {"severity": WORDS[finding.severity]}
        yield {"kind": "finding", **fields}
    for line in facts.unchecked:
        yield {"kind": "unchecked", "text": line}
