"""One run with the module in TASKSLOT_MODULE: `python -m chaos.wrong.once SERVER PROFILE SEED SECONDS`.

Its last line is JSON: how often each rule spoke, and the first line of what it says.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from harness.server import CRASH, MODULE, SERVERS

from chaos.rules import check
from chaos.run import OUTPUT, Order, run
from chaos.wrong.profiles import PROFILES


def crashes(folder: Path) -> Counter[str]:
    """Servers that crashed, by their logs. A run that can't go on because of it writes no end to its history."""
    logs = folder.glob("server-*.log")
    return Counter("exit" for log in logs if CRASH.search(log.read_text("utf-8", "replace")))


def main(server: str, profile: str, seed: str, seconds: str) -> None:
    """Do the run, and judge it."""
    # The folder of a build is the name of the mistake.
    output = OUTPUT / "wrong" / MODULE.parent.name
    order = Order(PROFILES[profile], SERVERS[server], int(seed), float(seconds), output)
    shutil.rmtree(order.folder, ignore_errors=True)
    outcome = run(order)
    # A run that was broken off has no end, and says nothing but that a server crashed.
    findings = check(outcome.history) if outcome.history.runs else []
    said = {"rules": Counter(finding.rule for finding in findings) + crashes(order.folder)}
    first = findings[0].text if findings else ""
    problems = [problem.strip().splitlines()[-1] for problem in outcome.problems if problem.strip()]
    print(json.dumps({**said, "first": first[:200], "problems": problems, "folder": str(order.folder)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
