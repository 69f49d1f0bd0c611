"""The code reward: which program counts, what the reference must hold, and what each outcome is worth."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from rewards.code import CodeReward, code_task, last_program
from rewards.sample import InfrastructureError, Sample
from sandbox import AssertTask, Checker, FunctionTask, Sandbox, SandboxLimits, SandboxUnavailable, StdioTask

LIMITS = SandboxLimits(cpu_s=2.0, wall_s=20.0)
SUM = [{"stdin": "3 4", "stdout": "7"}, {"stdin": "1 1", "stdout": "2"}, {"stdin": "5 5", "stdout": "10"}]
RIGHT = "print(sum(map(int, input().split())))"
OFF_BY_ONE_LATER = "a, b = map(int, input().split())\nprint(a + b + (a == 5))"


def fenced(source: str, tag: str = "python") -> str:
    return f"```{tag}\n{source}\n```"


class TestTheProgramThatCounts:
    pytestmark = pytest.mark.unit

    @pytest.mark.parametrize(
        ("response", "program"),
        [
            (fenced("a"), "a\n"),
            (fenced("a", ""), "a\n"),
            (fenced("a", "py"), "a\n"),
            (fenced("a") + "\nBetter:\n" + fenced("b") + "\nDone.", "b\n"),
            (fenced("a") + "\nThis prints:\n" + fenced("7", ""), "a\n"),
            (fenced("a") + "\nRun it:\n" + fenced("python a.py", "bash"), "a\n"),
            ("~~~python\na\n~~~", "a\n"),
            ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
            ("  ```python\n  a\n  ```", "  a\n"),
            ("```python\r\na\r\n```", "a\r\n"),
            ("<answer>a</answer>", "a"),
            ("<answer>\n" + fenced("a") + "\n</answer>", "a\n"),
            (fenced("b") + "\n<answer>\n" + fenced("a") + "\n</answer>", "a\n"),
            ("<think>" + fenced("b") + "</think>" + fenced("a"), "a\n"),
            ("<answer>a</answer> no, <answer>b</answer>", "b"),
        ],
    )
    def test_is_the_last_of_its_language(self, response: str, program: str | None):
        assert last_program(response) == program

    @pytest.mark.parametrize(
        "response",
        [
            "",
            "print(1)",
            "```python\nprint(1)",
            "<think>" + fenced("a"),
            "<think>" + fenced("a") + "</think>",
            "<answer> </answer>",
            fenced("  "),
            fenced("ls", "bash"),
            fenced("a") + "<answer>```python\nb</answer>",
        ],
    )
    def test_is_missing(self, response: str):
        assert last_program(response) is None

    def test_is_not_one_that_was_thought_when_the_prompt_opened_the_thinking(self):
        assert last_program(fenced("a"), thinking_open=True) is None
        assert last_program(fenced("a") + "</think>" + fenced("b"), thinking_open=True) == "b\n"

    def test_is_of_the_language_of_the_problem(self):
        both = fenced("int main(){}", "c++") + "\n" + fenced("print(1)")
        assert last_program(both, "cpp") == "int main(){}\n"
        assert last_program(both, "javascript") is None

    def test_is_found_in_linear_time(self):
        assert last_program("```\n" * 400_000) is None
        assert last_program("`" * 1_000_000) is None


class TestTheReference:
    pytestmark = pytest.mark.unit

    def test_gives_whole_programs_their_input_and_output(self):
        task = code_task({"tests": SUM, "compare": "float"}, "s")
        assert isinstance(task, StdioTask)
        assert task.cases[0] == ("3 4", "7")
        assert task.compare == "float"
        assert task.stop_at_first_failure

    def test_gives_functions_their_calls(self):
        tests = [{"args": [[1, 2], 3], "expected": None}, {"args": [], "kwargs": {"a": 1}, "expected": [1]}]
        task = code_task({"tests": tests, "entry_point": "Solution.f"}, "s", all_tests=True)
        assert isinstance(task, FunctionTask)
        assert [(call.args, call.expected, dict(call.kwargs)) for call in task.calls] == [
            ([[1, 2], 3], None, {}),
            ([], [1], {"a": 1}),
        ]
        assert not task.stop_at_first_failure

    @pytest.mark.parametrize(
        "tests",
        [["assert f(1) == 2", "assert f(2) == 3"], "assert f(1) == 2\nassert f(2) == 3", '["assert f(1) == 2"]'],
    )
    def test_gives_test_code_as_lines_or_text(self, tests: Any):
        task = code_task({"tests": tests, "entry_point": "f", "setup": "import math"}, "s")
        assert isinstance(task, AssertTask)
        assert task.test_source.startswith("assert f(1) == 2")
        assert task.setup_source == "import math"

    def test_may_be_json_text_and_name_a_checker(self):
        task = code_task({"tests": json.dumps(SUM), "checker": "def check(i, e, a): return True"}, "s")
        assert isinstance(task, StdioTask)
        assert isinstance(task.compare, Checker)

    @pytest.mark.parametrize(
        ("reference", "named"),
        [
            ({}, "tests"),
            ({"tests": []}, "tests"),
            ({"tests": "[1"}, "JSON"),
            ({"tests": 3}, "tests"),
            ({"tests": [{"stdin": "1"}]}, "one kind"),
            ({"tests": [*SUM, "assert f(1)"]}, "one kind"),
            ({"tests": [{"stdin": 1, "stdout": "1"}]}, "stdin"),
            ({"tests": SUM, "compare": "unordered"}, "compare"),
            ({"tests": SUM, "language": "cobol"}, "language"),
            ({"tests": [{"args": [1], "expected": 1}]}, "entry_point"),
            ({"tests": [{"args": 1, "expected": 1}], "entry_point": "f"}, "args"),
            ({"tests": ["x = 1"], "entry_point": "f"}, "assert"),
            ({"tests": ["assert f(1) =="], "entry_point": "f"}, "Python"),
        ],
    )
    def test_is_refused_with_the_key_that_is_wrong(self, reference: dict[str, Any], named: str):
        with pytest.raises(ValueError, match=named):
            code_task(reference, "s")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reward() -> AsyncIterator[CodeReward]:
    reward = CodeReward(Sandbox(LIMITS, workers=1))
    await reward.start()
    yield reward
    await reward.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def partial() -> AsyncIterator[CodeReward]:
    reward = CodeReward(Sandbox(LIMITS, workers=1), partial_credit=True)
    await reward.start()
    yield reward
    await reward.close()


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
class TestTheScore:
    async def test_is_one_when_all_tests_pass(self, reward: CodeReward, partial: CodeReward):
        sample = Sample("sum", fenced(RIGHT), {"tests": SUM})
        assert (await reward(sample)).value == 1
        assert (await partial(sample)).value == 1
        assert (await reward(sample)).detail == "passed 3 tests"

    async def test_is_nothing_or_the_share_that_passed(self, reward: CodeReward, partial: CodeReward):
        sample = Sample("sum", fenced(OFF_BY_ONE_LATER), {"tests": SUM})
        assert (await reward(sample)).value == 0
        score = await partial(sample)
        assert score.value == pytest.approx(2 / 3)
        assert score.detail.startswith("wrong_answer at test 3 of 3")
        assert "'11'" in score.detail

    @pytest.mark.parametrize(
        ("source", "outcome"),
        [
            ("while True: pass", "time_limit"),
            ("def", "compile_error"),
            ("1 / 0", "runtime_error"),
            ("import os; os._exit(0)", "wrong_answer"),
            ("print('7 2 10')", "wrong_answer"),
        ],
    )
    async def test_is_zero_for_whatever_the_policy_did(self, reward: CodeReward, source: str, outcome: str):
        score = await reward(Sample("sum", fenced(source), {"tests": SUM}))
        assert score.value == 0
        assert score.detail.startswith(outcome)

    async def test_is_zero_without_a_program(self, reward: CodeReward):
        score = await reward(Sample("sum", "I would add them.", {"tests": SUM}))
        assert (score.value, score.detail) == (0, "no program")

    async def test_counts_functions_and_test_code(self, reward: CodeReward):
        source = fenced("def f(a):\n    return a + 1")
        calls = {"tests": [{"args": [n], "expected": n + 1} for n in range(3)], "entry_point": "f"}
        code = {"tests": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"}
        for reference in (calls, code, {"tests": ["assert f(1) == 2"], "entry_point": "f"}):
            assert (await reward(Sample("p", source, reference))).value == 1
            assert (await reward(Sample("p", source.replace("+ 1", "+ 2"), reference))).value == 0

    async def test_a_bad_reference_is_an_error_whatever_the_response(self, reward: CodeReward):
        for response in ("nothing", fenced(RIGHT)):
            with pytest.raises(ValueError, match="tests"):
                await reward(Sample("sum", response, {"answer": "7"}))


@pytest.mark.unit
async def test_a_failure_of_the_sandbox_is_no_score(monkeypatch: pytest.MonkeyPatch):
    from sandbox import RunResult

    async def broken(self: Sandbox, task: object) -> RunResult:
        return RunResult("infra_error", (), 3, "portable", "the worker died")

    monkeypatch.setattr(Sandbox, "run", broken)
    with pytest.raises(InfrastructureError, match="the worker died"):
        await CodeReward(Sandbox(workers=1))(Sample("sum", fenced(RIGHT), {"tests": SUM}))


@pytest.mark.unit
async def test_a_machine_without_walls_is_a_failure_of_the_infrastructure(monkeypatch: pytest.MonkeyPatch):
    async def unavailable(self: Sandbox) -> Sandbox:
        raise SandboxUnavailable("landlock: EPERM")

    monkeypatch.setattr(Sandbox, "__aenter__", unavailable)
    with pytest.raises(InfrastructureError, match="landlock"):
        await CodeReward(Sandbox(workers=1)).start()
