"""Code answers: the last program of the response, run in the sandbox against the tests of the reference.

The reference of a problem, each key a column of the data; `tests` is a list, or the same as JSON text:

- `tests`: whole programs: `[{"stdin": "3 4", "stdout": "7"}, ...]`;
  functions: `[{"args": [3, 4], "expected": 7}, ...]`, each with `"kwargs": {}` at will;
  test code: `["assert f(3, 4) == 7", ...]` or one text, `def check(candidate): ...`.
- `entry_point`: of functions and test code: `f`, or `Solution.f` for a method (not for test code).
- `setup`: of test code, optional: the data set's own code that its tests use.
- `language`: of whole programs: `python` (the default), `c`, `cpp` or `javascript`.
- `compare`: `exact` (the default), `lines` or `float`; of functions `exact`, `python`, `float`, `float_relative`,
  `unordered` or `unordered_nested`.
- `time_limit_s`: processor time of each test, in place of the sandbox's.
- `kind`: with it the problem is written as code_rows.py says.
- `checker`: instead of `compare`: source that defines `check(input, expected, actual)`.

What a run of the sandbox says is the policy's doing and scored, but for `infra_error`, which raises.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from rewards.answer import last_tagged, outside_thinking
from rewards.code_rows import without_kind
from rewards.sample import InfrastructureError, Sample, Score
from sandbox import (
    AssertTask,
    Checker,
    FunctionCall,
    FunctionTask,
    Language,
    RunResult,
    SandboxUnavailable,
    StdioTask,
    Task,
)
from sandbox.runner import TaskRunner
from sandbox.tasks import Compare, OutputCompare

TAGS: dict[str, set[str]] = {
    "python": {"python", "py", "python3"},
    "c": {"c"},
    "cpp": {"cpp", "c++", "cc", "cxx"},
    "javascript": {"javascript", "js", "node"},
}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*", re.ASCII)


def last_program(response: str, language: str = "python", thinking_open: bool = False) -> str | None:
    """The program that counts, or None: the last fenced block of the last `<answer>` or else of the whole response.

    Nothing inside `<think>` counts. Blocks tagged with another language (`text`, `bash`) are passed over, and an
    untagged one, often sample output, gives way to any that is tagged. An answer without a fence is all program.
    """
    visible = outside_thinking(response, thinking_open)
    answer = last_tagged(visible)
    tagged: str | None = None
    untagged: str | None = None
    for tag, block in _fenced(visible if answer is None else answer):
        if tag.lower() in TAGS[language]:
            tagged = block
        elif not tag:
            untagged = block
    program = tagged if tagged is not None else untagged
    if program is None and answer is not None and "```" not in answer:
        program = answer.strip()
    return program if program and program.strip() else None


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    """(tag, content) of every closed block; a fence closes with at least as many of the marks that opened it."""
    fence = tag = ""
    lines: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.fullmatch(line.rstrip("\r"))
        if not fence:
            if match:
                fence, tag = match.groups()
                lines = []
        elif match and match[1].startswith(fence) and not match[2]:
            yield tag, "\n".join(lines) + "\n"
            fence = ""
        else:
            lines.append(line)


def code_task(reference: Mapping[str, Any], source: str, *, all_tests: bool = False) -> Task:
    """The reference's tests as a question to the sandbox. Raises ValueError (sandbox.TaskError is one) with the key."""
    reference = without_kind(reference)
    tests = _tests(reference)
    limit, first = _time_limit(reference), not all_tests
    rows: list[Any] = [tests] if isinstance(tests, str) else tests
    if all(isinstance(row, str) for row in rows):
        setup = reference.get("setup") or ""
        return AssertTask(source, "\n".join(rows), _name(reference), setup, first, limit)
    if all(isinstance(row, dict) and {"stdin", "stdout"} == set(cast("dict[str, Any]", row)) for row in rows):
        compare = _compare(reference, get_args(OutputCompare))
        cases = [(_text(row, "stdin"), _text(row, "stdout")) for row in rows]
        return StdioTask(_language(reference), source, cases, compare, first, limit)
    if all(isinstance(row, dict) and {"args", "expected"} <= set(cast("dict[str, Any]", row)) for row in rows):
        compare = _compare(reference, get_args(Compare))
        return FunctionTask(source, _name(reference), [_call(row) for row in rows], compare, first, limit)
    raise ValueError(
        f"`tests` begins with {str(rows[0])[:80]!r}; every test must be of one kind: {{stdin, stdout}}, "
        "{args, expected} or text with assert"
    )


class CodeReward:
    """The code reward with its sandbox. `start` before use, `close` after; both in the event loop of the calls."""

    def __init__(self, sandbox: TaskRunner, *, partial_credit: bool = False) -> None:
        """`sandbox`: not yet entered; it belongs to the reward from here on.

        `partial_credit`: the share of tests passed instead of all or nothing; every test is then run.
        """
        self._sandbox = sandbox
        self._partial_credit = partial_credit

    async def start(self) -> None:
        """Start the sandbox. Raises InfrastructureError when no wall holds on this machine."""
        try:
            await self._sandbox.__aenter__()
        except SandboxUnavailable as error:
            raise InfrastructureError(str(error)) from error

    async def close(self) -> None:
        """End the sandbox and the programs that still run."""
        await self._sandbox.__aexit__(None, None, None)

    async def __call__(self, sample: Sample) -> Score:
        """Score a sample. Raises ValueError (unusable reference) or InfrastructureError (the sandbox failed)."""
        language = _language(sample.reference)
        source = last_program(sample.response, language, sample.prompt.rstrip().endswith("<think>"))
        return await self.judge(sample.reference, source)

    async def judge(self, reference: Mapping[str, Any], source: str | None) -> Score:
        """Score a program, or the lack of one; raises as above."""
        task = code_task(reference, source or "", all_tests=self._partial_credit)
        if source is None:
            return Score(0.0, "no program")
        result = await self._sandbox.run(task)
        if result.outcome == "infra_error":
            raise InfrastructureError(f"the sandbox failed: {result.detail}")
        value = result.passed_share if self._partial_credit else float(result.passed)
        # Rounding must not make all of the tests of one that failed.
        return Score(value if result.passed else min(value, 1.0 - 1e-9), _detail(result))


def _detail(result: RunResult) -> str:
    """Outcome and first failing test, such as `wrong_answer at test 2 of 5: line 1 is '8', expected '7'`."""
    if result.passed:
        return f"passed {result.num_tests} tests"
    for number, test in enumerate(result.tests, 1):
        if test.outcome != "passed":
            difference = test.difference
            why = test.detail or result.detail
            if difference is not None:
                why = f"line {difference.line} is {difference.actual!r}, expected {difference.expected!r}"
            return f"{test.outcome} at test {number} of {result.num_tests}: {why}"
    return f"{result.outcome}: {result.detail}"


def _tests(reference: Mapping[str, Any]) -> str | list[Any]:
    """The tests, out of their JSON text where they are one; test code is no JSON and stays text."""
    tests = reference.get("tests")
    if isinstance(tests, str) and tests.lstrip()[:1] == "[":
        try:
            tests = json.loads(tests)
        except ValueError as error:
            raise ValueError(f"`tests` begins like a list and is no JSON: {error}") from error
    if not isinstance(tests, list | str) or not tests:
        known = ", ".join(sorted(reference)) or "nothing"
        raise ValueError(f"`tests` is {tests!r}; the code reward needs a list or JSON text (the reference has {known})")
    return cast("str | list[Any]", tests)


def _name(reference: Mapping[str, Any]) -> str:
    name = reference.get("entry_point")
    if not isinstance(name, str):
        raise ValueError(f"`entry_point` is {name!r}; tests of a function need its name")
    return name


def _time_limit(reference: Mapping[str, Any]) -> float | None:
    limit = reference.get("time_limit_s")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
        raise ValueError(f"`time_limit_s` is {limit!r}; it must be a number of seconds")
    return limit


def _language(reference: Mapping[str, Any]) -> Language:
    language = reference.get("language") or "python"
    if language not in get_args(Language):
        raise ValueError(f"`language` is {language!r}; it must be one of {', '.join(get_args(Language))}")
    return language


def _compare(reference: Mapping[str, Any], known: Sequence[str]) -> Any:
    checker, compare = reference.get("checker"), reference.get("compare") or "exact"
    if checker:
        return Checker(checker)
    if compare not in known:
        raise ValueError(f"`compare` is {compare!r}; for these tests it must be one of {', '.join(known)}")
    return compare


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise ValueError(f"`{key}` of a test is {value!r}; it must be text")
    return value


def _call(row: Mapping[str, Any]) -> FunctionCall:
    args: object = row["args"]
    kwargs: object = row.get("kwargs") or {}
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError(f"a test calls with args {args!r} and kwargs {kwargs!r}; they must be a list and an object")
    return FunctionCall(cast("list[Any]", args), row["expected"], cast("dict[str, Any]", kwargs))
