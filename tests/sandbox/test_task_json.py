"""A task survives the way through JSON with everything that its verdict depends on, and nothing else gets through."""

import json
from typing import Any

import pytest

from sandbox import (
    AssertTask,
    Checker,
    Difference,
    FunctionCall,
    FunctionTask,
    RunResult,
    StdioTask,
    SyntaxTask,
    Task,
    TaskError,
    TestResult,
)
from sandbox.task_json import result_from_json, result_to_json, task_from_json, task_to_json

pytestmark = pytest.mark.unit

VALUES: list[Any] = [
    None,
    True,
    -(2**70),
    0.1,
    1e300,
    float("inf"),
    "é\ud800\n",
    b"\x00\xff",
    [1, (2, "3")],
    {1: {2, 3}, (4,): frozenset([5])},
]
TASKS: list[Task] = [
    StdioTask("python", "print(1)\ud800", [("in\n", "1\n"), ("", "")], stop_at_first_failure=False),
    StdioTask("cpp", "int main(){}", [("", "")], "float"),
    StdioTask("python", "", [("", "")], Checker("def right(a, b, c): return True", "right")),
    FunctionTask("", "f", [FunctionCall([value], value, {"key": value}) for value in VALUES], "python"),
    FunctionTask("", "Solution.f", [FunctionCall([], 1)], Checker("def check(a, b, c): return True")),
    AssertTask("def f(): pass", "assert f() == 1", "f", "import math", stop_at_first_failure=False),
    SyntaxTask("javascript", "let x"),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_comes_back_as_it_was(task: Task) -> None:
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task


def test_a_result_comes_back_as_it_was() -> None:
    test = TestResult("wrong_answer", "line 1 differs", Difference(1, "7", None), 0.25, 0.5, 4096, "\udcffwarning")
    result = RunResult("wrong_answer", (test,), 3, "portable", "", 1.0, 2.0, 3.0, 5)
    assert result_from_json(json.loads(json.dumps(result_to_json(result)))) == result


def test_a_value_of_another_type_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TaskError, match="complex"):
        task_to_json(FunctionTask("", "f", [FunctionCall([1j], 1)]))


GOOD: dict[str, Any] = task_to_json(TASKS[0])
CALLS: dict[str, Any] = task_to_json(FunctionTask("", "f", [FunctionCall([1], 1)]))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ({}, "kind is 'None'"),
        ({**GOOD, "kind": ["stdio"]}, "kind is"),
        ({**GOOD, "secret": 1}, "the fields are"),
        ({key: value for key, value in GOOD.items() if key != "compare"}, "the fields are"),
        ({**GOOD, "language": "perl"}, "language: 'perl' is none of python"),
        ({**GOOD, "source": 1}, "source: it must be text"),
        ({**GOOD, "cases": []}, "without cases"),
        ({**GOOD, "cases": [["", ""], [""]]}, "cases: every case"),
        ({**GOOD, "cases": [["", 1]]}, "cases: it must be text"),
        ({**GOOD, "compare": "python"}, "compare: 'python' is none of exact"),
        ({**GOOD, "compare": {"checker": {"source": "x"}}}, "compare: the fields are"),
        ({**GOOD, "stop_at_first_failure": 1}, "true or false"),
        ({**CALLS, "calls": [[[1], 1]]}, "every call"),
        ({**CALLS, "calls": [[[1], {"q": 1}, {"d": []}]]}, "calls: an object with an unknown tag"),
        ({**CALLS, "calls": [[[1], {"s": [[1]]}, {"d": []}]]}, "calls: unhashable"),
        ({**CALLS, "calls": [[[1], {"i": "zz"}, {"d": []}]]}, "calls: invalid literal"),
        ({**CALLS, "calls": [[1, 1, {"d": []}]]}, "args must be a list"),
        ({**CALLS, "entry_point": "f()"}, "entry_point"),
    ],
)
def test_what_is_no_task_is_refused_with_the_field(raw: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task_from_json(raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "fine"}, "outcome"),
        ({"num_tests": 1.5}, "num_tests"),
        ({"tests": [{}]}, "tests"),
        ({"more": 1}, "more"),
        ({"isolation": "none"}, "isolation"),
    ],
)
def test_what_is_no_result_is_refused(change: dict[str, Any], message: str) -> None:
    result = json.loads(json.dumps(result_to_json(RunResult("passed", (), 1, "portable"))))
    with pytest.raises(ValueError, match=message):
        result_from_json({**result, **change})
