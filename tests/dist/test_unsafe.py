"""SECURITY.md lists how much unsafe code each file has, and why. The numbers are those of the sources."""

import re

from harness.server import ROOT

TABLE = re.compile(r"^\| `(\w+\.rs)` \| (\d+) \| (\d+) \| ([^|]+) \|$", re.M)


def counted(text: str) -> tuple[int, int]:
    """The unsafe blocks of a file, and its unsafe functions and impls."""
    code = re.sub(r"//.*", "", text)
    blocks = len(re.findall(r"\bunsafe\s*\{", code))
    return blocks, len(re.findall(r'\bunsafe\s+(?:(?:extern\s+"C"\s+)?fn\s+\w|impl\b)', code))


def test_the_table_of_unsafe_code_is_true():
    """Every file with unsafe code is in the table, with its numbers and a reason; and the sum is right."""
    text = (ROOT / "SECURITY.md").read_text()
    written = {name: (int(blocks), int(others)) for name, blocks, others, _ in TABLE.findall(text)}
    real = {file.name: counted(file.read_text()) for file in (ROOT / "src/api").glob("*.rs")}
    real = {name: counts for name, counts in real.items() if any(counts)}
    rows = "\n".join(f"| `{name}` | {blocks} | {others} | … |" for name, (blocks, others) in sorted(real.items()))
    assert written == real, f"the table should have these rows:\n{rows}"
    total = sum(blocks for blocks, _ in real.values())
    assert f"{total} unsafe blocks" in text


def test_only_one_crate_has_unsafe_code():
    """The compiler enforces it, as long as nobody takes the attributes away."""
    for crate, rule in {"engine": "forbid", "node": "forbid", "module": "deny"}.items():
        assert f"#![{rule}(unsafe_code)]" in (ROOT / f"src/{crate}/lib.rs").read_text()
        for file in (ROOT / f"src/{crate}").rglob("*.rs"):
            assert counted(file.read_text()) == (0, 0), file
            assert "allow(unsafe_code)" not in file.read_text(), file
