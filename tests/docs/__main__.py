"""Runs the code blocks of pages and checks their links. Prints the problems, and exits with 1 if there are any.

    python tests/docs                           all pages of the current tree
    python tests/docs README.md docs/faq.md     these pages
    python tests/docs --server redis-6.2        with another server than Valkey 9.1
    python tests/docs --check-urls              also request each web address

TASKSLOT_MODULE names the module, if it isn't target/release/libtaskslot.so.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.server import SERVERS  # noqa: E402

from docs.links import fetch, link_problems, pages, tracked  # noqa: E402
from docs.page import read_page  # noqa: E402
from docs.reader import Reader  # noqa: E402


def main() -> int:
    """Test the pages that the arguments name."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--server", default="valkey-9.1", choices=SERVERS)
    parser.add_argument("--check-urls", action="store_true")
    options = parser.parse_args()
    top = subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True).strip()
    root = Path(top)
    names = [str((Path.cwd() / name).resolve().relative_to(root)) for name in options.pages] or pages(root)

    files = tracked(root)
    wrong = 0
    for name in names:
        page = read_page(root, name)
        problems = [
            str(problem) for problem in [*page.problems, *link_problems(page, root, files | set(names))]
        ]
        with Reader(page, SERVERS[options.server], root) as reader:
            outcome = reader.read()
        problems += [f"{name}:{line}: {what}" for line, what in outcome.problems]
        if options.check_urls:
            problems += [f"{name}:{link.line}: {why}" for link in page.links if (why := fetch(link.target))]
        print(f"{name}: {outcome.done} blocks run, {len(outcome.skipped)} skipped, {len(problems)} problems")
        if outcome.lacking:
            print(f"{name}: some blocks need programs that are missing here: {outcome.lacking}")
        print(*problems, sep="\n", end="\n" if problems else "")
        wrong += len(problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
