"""The frameworks' own suites: how a run is compared with the list of expected differences."""

import pytest
from frameworks.outcomes import expected, outcomes, problems, summary

LIST = """
# The test reads the other broker's keys,
# which are lists.
tests/test_a.py::test_one
tests/test_a.py::test_two[x y]

# The test has a race.
sometimes tests/test_b.py::TestB::test_three
"""


def found(tmp_path, *cases):
    """The outcomes of a run with these test cases."""
    file = tmp_path / "junit.xml"
    file.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return outcomes(file)


def case(name, result="", file="tests/test_a.py", classname="tests.test_a"):
    """A test case as pytest writes it."""
    return f'<testcase classname="{classname}" name="{name}" file="{file}">{result}</testcase>'


def test_outcomes_have_the_names_that_pytest_takes(tmp_path):
    """A file, classes, and parameters; the worst result of a test with several counts."""
    of_class = {"file": "tests/test_b.py", "classname": "tests.test_b.TestB"}
    run = found(
        tmp_path,
        case("test_one", '<failure message="no"/>'),
        case("test_two[x y]", "<skipped/>"),
        case("test_three", **of_class),
        case("test_three", "<error/>", **of_class),
    )
    assert run == {
        "tests/test_a.py::test_one": "failed",
        "tests/test_a.py::test_two[x y]": "skipped",
        "tests/test_b.py::TestB::test_three": "failed",
    }
    assert summary(run) == "0 passed, 2 failed, 1 skipped"


def test_a_run_as_expected_has_no_problems():
    """Listed tests fail, others pass or are skipped, and one that is not sure may do either."""
    run = {"tests/test_a.py::test_one": "failed", "tests/test_a.py::test_two[x y]": "failed"}
    for outcome in ("passed", "failed"):
        run["tests/test_b.py::TestB::test_three"] = outcome
        assert list(problems({**run, "tests/test_c.py::test_d": "passed"}, expected(LIST), True)) == []


@pytest.mark.parametrize("outcome, what", [("passed", "passed, although"), ("skipped", "did not run")])
def test_a_listed_test_that_does_not_fail_is_a_problem(outcome, what):
    """The list would rot otherwise. The reason is shown."""
    run = {"tests/test_a.py::test_one": outcome, "tests/test_a.py::test_two[x y]": "failed"}
    run["tests/test_b.py::TestB::test_three"] = "passed"
    [problem] = problems(run, expected(LIST), True)
    assert problem.startswith(what) and "test_one" in problem


def test_a_failure_that_is_not_listed_is_a_problem_in_any_run():
    """A run of some tests is compared only as far as it went."""
    assert list(problems({"tests/test_c.py::test_d": "failed"}, expected(LIST), False)) == [
        "failed: tests/test_c.py::test_d"
    ]


def test_a_difference_needs_a_reason():
    """Lines of a reason are joined; a test without one is an error."""
    differences = expected(LIST)
    assert differences["tests/test_a.py::test_two[x y]"].reason == (
        "The test reads the other broker's keys, which are lists."
    )
    assert not differences["tests/test_b.py::TestB::test_three"].is_sure
    with pytest.raises(ValueError, match="no reason why it differs: tests/test_x.py::test_y"):
        expected("tests/test_x.py::test_y")
