"""Every page of the documents is tested: its code blocks run and print what the page shows, and its links work.

README.md in this folder has the rules for writers.
"""

import re

import pytest
from harness.server import ROOT
from harness.talk import Talk

from docs.links import citations, link_problems, pages, reachable, tracked
from docs.page import read_page
from docs.reader import Reader

README_LINES = 200
# Pages that run for 5 s and more.
LONG = {
    "clients/python/README.md",
    "docs/fastapi.md",
    "docs/migrating-jobs.md",
    "docs/node.md",
    "docs/observability.md",
    "docs/server.md",
    "docs/web.md",
    "docs/worker-protocol.md",
}
# The most blocks with `skip` on each page. Before you raise a number, look for a way to run the block.
SKIPPED = {
    "CONTRIBUTING.md": 2,
    "clients/python/README.md": 2,
    "clients/recipes/README.md": 5,
    "docs/benchmarks.md": 1,
    "docs/chaos.md": 1,
    "docs/deploy.md": 2,
    "docs/fuzzing.md": 2,
    "docs/kubernetes.md": 1,
    "docs/migrating.md": 1,
    "docs/node.md": 1,
    "docs/securing.md": 5,
    "docs/server.md": 1,
    "examples/bull-board/README.md": 2,
    "tests/docs/README.md": 1,
}


def tell(problems: list[str]) -> None:
    """Fail if there are problems, and show only those."""
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.fixture(params=pages(ROOT))
def page(request):
    """Parsed pages, one for each test."""
    return read_page(ROOT, request.param)


# npm may have to fetch the clients of Node.
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "page",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in pages(ROOT)],
    indirect=True,
)
def test_a_page_shows_what_happens(page, installed):
    """Its blocks run in order on a new server and print the output that the page shows."""
    with Reader(page, installed, ROOT) as reader:
        outcome = reader.read()
    for line, reason in outcome.skipped:
        print(f"{page.name}:{line}: not run: {reason}")
    tell([f"{page.name}:{line}: {what}" for line, what in outcome.problems])
    if outcome.lacking:
        pytest.skip(outcome.lacking)


def test_a_page_is_well_formed_and_its_links_work(page):
    """Fences have a known language, directives have a block, and links name a file and a heading."""
    problems = [*page.problems, *link_problems(page, ROOT, tracked(ROOT))]
    tell(list(map(str, problems)))


def test_no_more_blocks_are_skipped_than_are_known():
    """The test prints the reasons."""
    for name in pages(ROOT):
        skipped = [block for block in read_page(ROOT, name).blocks if block.has("skip")]
        for block in skipped:
            print(f"{name}:{block.line}: {block.one('skip')}")
        assert len(skipped) <= SKIPPED.get(name, 0), name


def test_every_page_below_docs_is_reachable_from_the_index():
    """It is reached directly or over other pages."""
    found = reachable(ROOT, "docs/index.md")
    assert {name for name in pages(ROOT) if name.startswith("docs/")} <= found


def test_the_documents_that_comments_name_exist():
    """Comments in Rust, Python, C, the Makefile and settings are checked. Anchors must be headings."""
    files = tracked(ROOT)
    missing = [
        f"{name}:{line}: {document}{'#' * bool(anchor)}{anchor}"
        for name, line, document, anchor in citations(ROOT, files)
        if document not in files or (anchor and anchor not in read_page(ROOT, document).anchors)
    ]
    tell(missing)


def test_the_readme_is_short():
    """Details belong in docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_readme_names_every_command(server):
    """The commands are those of TASK.HELP."""
    shown = {line.split()[0] for line in Talk(server)("TASK.HELP") if line.startswith("TASK.")}
    readme = (ROOT / "README.md").read_text()
    linked = {f"TASK.{name.upper()}" for name in re.findall(r"docs/commands\.md#task([a-z]+)", readme)}
    assert shown <= linked | set(re.findall(r"TASK\.[A-Z]+", readme))
