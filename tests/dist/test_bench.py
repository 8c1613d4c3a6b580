"""Tests of what CI relies on in the benchmarks: the check of instructions, and the check of the documents."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    """The programs in bench/ can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    yield
    for name in [
        n for n, module in sys.modules.items() if str(ROOT / "bench") in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


@pytest.fixture
def compared(monkeypatch, tmp_path, capsys):
    """Compares figures with a baseline of 1000 instructions. Returns the exit code and the output."""
    import instructions

    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps({"counted with": {"rust": "1"}, "instructions": {"one by one": 1000}}))
    monkeypatch.setattr(instructions, "BASELINE", baseline)

    def compare(figures, rust="1"):
        code = instructions.compared(figures, {"rust": rust})
        output = capsys.readouterr()
        return code, output.out + output.err

    return compare


def test_three_percent_more_pass_and_above_that_fails_and_says_what_to_do(compared):
    """The bound is 3 % above the baseline."""
    assert compared({"one by one": 1030})[0] == 0
    code, output = compared({"one by one": 1031})
    assert code == 1
    assert "3.1 % more" in output
    assert "ARGS=--accept" in output


def test_a_lower_figure_passes_and_asks_for_a_lower_baseline(compared):
    """Below the tolerance the output says that the baseline can be lowered."""
    assert "Lower" not in compared({"one by one": 980})[1]
    code, output = compared({"one by one": 960})
    assert code == 0
    assert "Lower than the baseline" in output


def test_a_figure_without_a_baseline_fails(compared):
    """A new kind of life needs a figure in the file."""
    code, output = compared({"one by one": 1000, "with NEXT": 700})
    assert code == 1
    assert "with NEXT" in output


def test_a_figure_of_other_versions_than_the_baselines_is_only_reported(compared):
    """Another compiler alone can change it by more than 3 %."""
    assert "rust" not in compared({"one by one": 1000})[1]
    code, output = compared({"one by one": 2000}, rust="2")
    assert code == 0
    assert "Other rust" in output
    assert "can't be compared" in output


def test_a_page_with_another_figure_than_the_results_is_noticed():
    """What stands between the markers is replaced by what the results say."""
    import document

    results = document.Results(document.RESULTS)
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert document.filled(page, results) == page
    figure = document.by_server(document.ONE)(results).split("|")[-3].strip()
    assert document.filled(page.replace(figure, "0.01"), results) == page


def test_a_picture_with_another_figure_than_the_results_is_noticed(tmp_path):
    """All texts of the picture are compared."""
    import document

    ((path, shown), *_) = document.pictures(document.Results(document.RESULTS)).items()
    assert document.shows(path, shown)
    changed = tmp_path / "changed.svg"
    changed.write_text(
        path.read_text().replace(f">{shown.panels[0].bars[0].figure}</text>", ">0.1 µs</text>", 1)
    )
    assert not document.shows(changed, shown)
