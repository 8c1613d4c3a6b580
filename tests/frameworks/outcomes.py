"""What a run of a suite came to, and whether that is what the list of expected differences says."""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The worst counts, if a test has several results: those of its subtests, or of its end.
WORST = ("failed", "passed", "skipped")


@dataclass(frozen=True)
class Difference:
    """A test that fails with our adapter, and the reason. `is_sure` is False if it passes now and then."""

    reason: str
    is_sure: bool


def outcomes(junit: Path) -> dict[str, str]:
    """Each test of a run, `tests/test_a.py::test_b[c]`, and whether it passed, failed or was skipped.

    The file is pytest's, of the family xunit1, which names the tests' files.
    """
    found: dict[str, str] = {}
    for case in ET.parse(junit).iter("testcase"):
        file, name, within = case.get("file", ""), case.get("name", ""), case.get("classname", "")
        classes = within.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
        test = "::".join(part for part in (file, *classes.split("."), name) if part)
        is_bad = case.find("failure") is not None or case.find("error") is not None
        now = "failed" if is_bad else "skipped" if case.find("skipped") is not None else "passed"
        found[test] = min(now, found.get(test, now), key=WORST.index)
    return found


def expected(text: str) -> dict[str, Difference]:
    """Read a list of expected differences.

    A paragraph is a reason, in lines that begin with `#`, and tests below it, one in a line; `sometimes` before a test
    says that it passes now and then. Raises ValueError for a test without a reason.
    """
    differences: dict[str, Difference] = {}
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        reason = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        for line in (line.strip() for line in lines if line.strip() and not line.startswith("#")):
            if not reason:
                raise ValueError(f"no reason why it differs: {line}")
            differences[line.removeprefix("sometimes ")] = Difference(
                reason, is_sure=not line.startswith("sometimes ")
            )
    return differences


def problems(
    found: Mapping[str, str], differences: Mapping[str, Difference], is_whole: bool
) -> Iterator[str]:
    """How a run differs from what is expected of it. `is_whole`: all tests of the suite were run."""
    for test, outcome in found.items():
        if outcome == "failed" and test not in differences:
            yield f"failed: {test}"
        if outcome == "passed" and test in differences and differences[test].is_sure:
            yield f"passed, although it is listed as a difference: {test} ({differences[test].reason})"
    for test in differences if is_whole else ():
        if found.get(test, "skipped") == "skipped":
            yield f"did not run, although it is listed as a difference: {test}"


def summary(found: Mapping[str, str]) -> str:
    """The counts of a run: `210 passed, 4 failed, 20 skipped`."""
    counts = Counter(found.values())
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))
