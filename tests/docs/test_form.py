"""The check of the documents finds errors of form and dead links. These tests need no server."""

import pytest
from harness.server import ROOT

from docs.comparison import align
from docs.links import citations, dead, fetch
from docs.page import parse, slug
from docs.terminal import split, written

FILES = {"README.md", "docs/guide.md", "docs/pictures/life.svg", "src/engine/lib.rs"}


def problems(text: str) -> list[tuple[int, str]]:
    """Returns the errors of form of a page."""
    return [(problem.line, problem.what) for problem in parse("docs/guide.md", text).problems]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a\n\n```\nx\n```\n", 3, "without a language"),
        ("```cobol\nx\n```\n", 1, "unknown language 'cobol'"),
        ("```text\n$ x\n```\n", 1, "a session that isn't run"),
        ("a\n\n    indented\n", 3, "indented code block"),
        ("<!-- test: frish -->\n```sh\nx\n```\n", 1, "unknown directive 'frish'"),
        ("<!-- test: skip -->\n```sh\nx\n```\n", 1, "needs a text"),
        ("<!-- test: fresh -->\n\ntext\n\n```sh\nx\n```\n", 1, "not directly above"),
        ("text <!-- test: fresh -->\n", 1, "within a paragraph"),
        ("see [a][b]\n", 1, "isn't defined"),
    ],
)
def test_a_block_or_directive_that_would_not_be_run_is_found(text, line, says):
    """These are unknown languages and directives, directives without a block, and sessions that no test runs."""
    [(where, what)] = problems(text)
    assert where == line and says in what


def test_a_block_in_a_list_is_read_with_its_directives():
    """Directives can span several lines."""
    text = (
        "- item\n\n  <!-- test: fresh -->\n  <!-- test: before\n  A 1\n  B 2\n  -->\n  ```redis\n  x\n  ```\n"
    )
    [block] = parse("docs/guide.md", text).blocks
    assert block.line == 9 and block.lines == ["x"] and block.has("fresh")
    assert [line.strip() for line in block.texts("before")] == ["A 1", "B 2"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("../README.md", None),
        ("pictures/life.svg", None),
        ("pictures", None),
        ("#own-heading", None),
        ("guide.md#own-heading-1", None),
        ("#own_id", None),
        ("https://redis.io/docs/?a=b#c", None),
        ("mailto:a@b.example", None),
        ("../src/engine/lib.rs#L12-L20", None),
        ("README.md", "no such file"),
        ("pictures/death.svg", "no such file"),
        ("#other", "no heading"),
        ("../../elsewhere.md", "leaves the tree"),
        ("/docs/guide.md", "absolute"),
        ("https://redis", "no web address"),
        ("http:/redis.io", "no web address"),
        ("file:///etc/passwd", "no web address"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target, why):
    """A good link names a file in git and a heading in it."""
    page = parse("docs/guide.md", '# Own heading\n\n# Own `heading`\n\n<a id="own_id"></a>\n')
    found = dead(page, target, ROOT, FILES)
    assert (why in found) if why and found else found == why


def test_links_and_pictures_are_checked_also_in_html():
    """They are checked in tables too."""
    text = "[a](a.md) ![b](b.svg)\n\n- [c]\n\n| x |\n|---|\n| [d](d.md) |\n\n<img src='e.svg'>\n\n[c]: c.md\n"
    assert {link.target for link in parse("x.md", text).links} == {"a.md", "b.svg", "c.md", "d.md", "e.svg"}


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Groups, fairness and limits", "groups-fairness-and-limits"),
        ("What is `TASK.INFO`?", "what-is-taskinfo"),
        ("A - B", "a---b"),
        ("at_least once", "at_least-once"),
    ],
)
def test_anchors_are_those_of_github(heading, anchor):
    """They are in lower case, without punctuation, with a hyphen for each space."""
    assert slug(heading.replace("`", "")) == anchor


def test_documents_that_comments_name_are_found(tmp_path):
    """Each is found with its line and its anchor."""
    (tmp_path / "a.rs").write_text(
        "// See docs/guide.md#leases.\n// And ARCHITECTURE.md, clients/python/README.md.\n"
    )
    (tmp_path / "b.bin").write_text("docs/guide.md")
    assert list(citations(tmp_path, {"a.rs", "b.bin"})) == [
        ("a.rs", 1, "docs/guide.md", "leases"),
        ("a.rs", 2, "ARCHITECTURE.md", ""),
        ("a.rs", 2, "clients/python/README.md", ""),
    ]


def test_web_addresses_can_be_fetched():
    """An address that doesn't exist is an error. Other links are not requested."""
    assert fetch("guide.md") is None
    assert "http://127.0.0.1:9/" in fetch("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("shown", "actual", "pairs"),
    [
        ("a b", "a b", [(0, 0), (1, 1)]),
        ("a b", "a", None),
        ("a", "a b", None),
        ("... b", "a b", [(1, 1)]),
        ("a ...", "a", [(0, 0)]),
        ("a ... b", "a b b", [(0, 0), (2, 2)]),
        ("... a b ...", "a a b c", [(1, 1), (2, 2)]),
        ("a ... b", "b a", None),
        ("...", "", []),
    ],
)
def test_dots_stand_for_any_lines(shown, actual, pairs):
    """They can be anywhere. Other lines must be equal and in order."""
    assert align(shown.split(), actual.split()) == pairs


def test_words_and_replies_are_those_of_redis_cli():
    """Quotes, escapes and nesting are the same."""
    assert split('SET k \'a b\' "c \\"d\\" \\x41\\n"') == ["SET", "k", "a b", 'c "d" A\n']
    assert written([b'a"\n\xff', [1, None], []]) == [
        '1) "a\\"\\n\\xff"',
        "2) 1) (integer) 1",
        "   2) (nil)",
        "3) (empty array)",
    ]


@pytest.mark.parametrize("name", ["/tmp/jobs.py", "../jobs.py", "examples/../../jobs.py"])
def test_a_block_is_never_written_outside_the_folder_of_its_page(name):
    """A first line that names another folder is an ordinary comment."""
    [block] = parse("docs/made-up.md", f"```python\n# {name}\nx = 1\n```\n").blocks
    assert block.file is None
