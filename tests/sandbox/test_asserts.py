"""Test code is taken apart without running any of it."""

import pytest

from sandbox import AssertTask, FunctionCall, FunctionTask, StdioTask, TaskError
from sandbox.asserts import SimpleAssert, simple, steps

pytestmark = pytest.mark.unit


def test_lines_of_calls_and_literals_become_values() -> None:
    code = "assert f(1, [2, -3], k='x') == {'a': (1, None)}\nassert f() == set(), 'message'"
    assert simple(code, "f") == [
        SimpleAssert([1, [2, -3]], {"k": "x"}, {"a": (1, None)}),
        SimpleAssert([], {}, set()),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "assert f(1)",
        "assert not f(1)",
        "assert f(1) is True",
        "assert g(1) == 2",
        "assert f(x) == 2",
        "assert f(1) == g(2)",
        "assert f(*[1]) == 2",
        "assert f(**{'a': 1}) == 2",
        "assert f(1) == 2 == 2",
        "assert abs(f(1) - 2) < 1e-6",
        "assert m.f(1) == 2",
        "import math",
        "for i in range(3): assert f(i) == i",
    ],
)
def test_anything_else_is_left_to_the_test_process(line: str) -> None:
    assert simple(f"assert f(1) == 2\n{line}", "f") is None


def test_each_assertion_is_a_step_with_what_it_needs_before_it() -> None:
    code = "import math\nx = 3\nassert f(x) == 1\ndef g(y):\n    return y\nassert f(g(2)) == 2\ny = 1"
    assert steps(code, "f") == [
        "import math\nx = 3\nassert f(x) == 1",
        "def g(y):\n    return y\nassert f(g(2)) == 2\ny = 1",
    ]


def test_a_check_function_that_nothing_calls_is_called() -> None:
    code = "def check(candidate):\n    assert candidate(1) == 2"
    assert steps(code, "f") == [f"{code}\ncheck(f)"]
    assert steps(f"{code}\ncheck(f)", "f") == [f"{code}\ncheck(f)"]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "f(1)",
        "def test():\n    assert f(1) == 2",  # never called
        "class T:\n    def test(self):\n        assert f(1) == 2",
        "def check(candidate):\n    candidate(1)",
        "x = lambda: 1",
    ],
)
def test_code_that_asserts_nothing_is_refused_because_all_would_pass(code: str) -> None:
    with pytest.raises(TaskError, match="every program would pass"):
        AssertTask("def f(): pass", code, "f")


def test_code_that_is_no_python_is_refused() -> None:
    with pytest.raises(TaskError, match="test_source is no Python"):
        AssertTask("", "assert f(1 ==", "f")
    with pytest.raises(TaskError, match="setup_source is no Python"):
        AssertTask("", "assert f(1) == 1", "f", setup_source="import")


def test_tasks_without_tests_are_refused() -> None:
    with pytest.raises(TaskError, match="pass every program"):
        StdioTask("python", "", [])
    with pytest.raises(TaskError, match="pass every program"):
        FunctionTask("", "f", [])


@pytest.mark.parametrize("entry_point", ["", "f()", "a.b.c", "f g", ".f", "__import__('os').system"])
def test_entry_points_are_names(entry_point: str) -> None:
    with pytest.raises(TaskError, match="entry_point"):
        FunctionTask("", entry_point, [FunctionCall([], None)])
    with pytest.raises(TaskError, match="entry_point"):
        AssertTask("", "assert f() == 1", entry_point)
