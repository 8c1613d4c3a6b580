"""Runs the frameworks' own tests, from the sources of the versions that requirements/integrations.txt pins.

    python -m frameworks                      all suites
    python -m frameworks dramatiq             one of them
    python -m frameworks dramatiq -- -k eta   arguments after -- are passed to pytest; then only what ran is compared

Sources and environments are kept below target/frameworks, where they are downloaded when first needed. Each suite has a
server of its own. TASKSLOT_MODULE names the module, if it isn't target/release/libtaskslot.so.

A failure that expected/<name>.txt does not list is an error, and so is one that it lists and that passed.
"""

import argparse
import sys

from harness.server import SERVERS

from frameworks import celery, dramatiq, kombu
from frameworks.suite import Suite, check

SUITES: dict[str, Suite] = {one.SUITE.name: one.SUITE for one in (dramatiq, kombu, celery)}


def main() -> int:
    """Run the suites that the arguments name."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="frameworks", description=__doc__, formatter_class=as_written)
    parser.add_argument("suites", nargs="*", metavar="suite", help=", ".join(SUITES))
    parser.add_argument("--server", default="valkey-9.1", choices=SERVERS)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options, rest = parser.parse_args(words[:cut]), words[cut + 1 :]
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no suite {min(unknown)}: there are {', '.join(SUITES)}")
    chosen = [SUITES[name] for name in options.suites or SUITES]
    return 0 if all([check(suite, SERVERS[options.server], rest) for suite in chosen]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
