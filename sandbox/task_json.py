"""Tasks and results as JSON, for a sandbox that is a service. Values are tagged as in inside/wire.py: never pickle.

What `task_from_json` makes of `task_to_json` gets the same verdict as the task itself. Both directions refuse what is
not exactly of their shape, since the other end may be of another version.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, cast, get_args

from sandbox.inside import wire
from sandbox.results import Difference, Isolation, Outcome, RunResult, TaskError, TestResult
from sandbox.tasks import (
    AssertTask,
    Checker,
    Compare,
    FunctionCall,
    FunctionTask,
    Language,
    OutputCompare,
    StdioTask,
    SyntaxTask,
    Task,
)


def task_to_json(task: Task) -> dict[str, wire.Json]:
    """Raises TaskError for a value that cannot be sent."""
    match task:
        case StdioTask():
            return {
                "kind": "stdio",
                "language": task.language,
                "source": task.source,
                "cases": [[stdin, stdout] for stdin, stdout in task.cases],
                "compare": _compare_to_json(task.compare),
                "stop_at_first_failure": task.stop_at_first_failure,
                "time_limit_s": task.time_limit_s,
            }
        case FunctionTask():
            return {
                "kind": "function",
                "source": task.source,
                "entry_point": task.entry_point,
                "calls": [_call_to_json(call) for call in task.calls],
                "compare": _compare_to_json(task.compare),
                "stop_at_first_failure": task.stop_at_first_failure,
                "time_limit_s": task.time_limit_s,
            }
        case AssertTask():
            return {"kind": "asserts", **asdict(task)}
        case SyntaxTask():
            return {"kind": "syntax", **asdict(task)}


def _call_to_json(call: FunctionCall) -> wire.Json:
    try:
        return [wire.encode(list(call.args)), wire.encode(call.expected), wire.encode(dict(call.kwargs))]
    except wire.WireError as error:
        raise TaskError(f"a call cannot be sent: {error}") from error


def _compare_to_json(compare: str | Checker) -> wire.Json:
    return {"checker": asdict(compare)} if isinstance(compare, Checker) else compare


def task_from_json(raw: wire.Json) -> Task:
    """Raises TaskError for anything that is no task."""
    if not isinstance(raw, dict):
        raise TaskError("a task is a JSON object")
    fields = dict(cast(dict[str, wire.Json], raw))
    match fields.pop("kind", None):
        case "stdio":
            return StdioTask(**_fields(fields, _STDIO))
        case "function":
            return FunctionTask(**_fields(fields, _FUNCTION))
        case "asserts":
            return AssertTask(**_fields(fields, _ASSERTS))
        case "syntax":
            return SyntaxTask(**_fields(fields, _SYNTAX))
        case kind:
            raise TaskError(f"kind is {str(kind)[:80]!r}; it must be stdio, function, asserts or syntax")


def _fields(fields: Mapping[str, wire.Json], readers: Mapping[str, Callable[[wire.Json], Any]]) -> dict[str, Any]:
    if fields.keys() != readers.keys():
        raise TaskError(f"the fields are {', '.join(sorted(fields))[:200]}; they must be {', '.join(sorted(readers))}")
    read: dict[str, Any] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(fields[name])
        except (ValueError, TypeError, RecursionError) as error:
            raise TaskError(f"{name}: {str(error)[:200]}") from error
    return read


def _text(raw: wire.Json) -> str:
    if not isinstance(raw, str):
        raise ValueError("it must be text")
    return raw


def _flag(raw: wire.Json) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("it must be true or false")
    return raw


def _number(raw: wire.Json) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError("it must be a number")
    return raw


def _number_or_none(raw: wire.Json) -> float | None:
    return None if raw is None else _number(raw)


def _whole(raw: wire.Json) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError("it must be a whole number")
    return raw


def _list(raw: wire.Json) -> list[wire.Json]:
    if not isinstance(raw, list):
        raise ValueError("it must be a list")
    return cast(list[wire.Json], raw)


def _one_of(*known: str) -> Callable[[wire.Json], Any]:
    def read(raw: wire.Json) -> str:
        if raw not in known:
            raise ValueError(f"{str(raw)[:80]!r} is none of {', '.join(known)}")
        return raw

    return read


def _compare(*known: str) -> Callable[[wire.Json], Any]:
    def read(raw: wire.Json) -> str | Checker:
        if isinstance(raw, dict):
            inner = _fields(cast(dict[str, wire.Json], raw), {"checker": lambda value: value})["checker"]
            if not isinstance(inner, dict):
                raise ValueError("checker must be an object")
            return Checker(**_fields(cast(dict[str, wire.Json], inner), {"source": _text, "entry_point": _text}))
        return _one_of(*known)(raw)

    return read


def _cases(raw: wire.Json) -> list[tuple[str, str]]:
    pairs = [_list(pair) for pair in _list(raw)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("every case must be a pair of texts")
    return [(_text(stdin), _text(stdout)) for stdin, stdout in pairs]


def _calls(raw: wire.Json) -> list[FunctionCall]:
    calls: list[FunctionCall] = []
    for parts in map(_list, _list(raw)):
        if len(parts) != 3:
            raise ValueError("every call must be a list of args, expected and kwargs")
        args, expected, kwargs = map(wire.decode, parts)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ValueError("args must be a list and kwargs a dict")
        calls.append(FunctionCall(cast(list[Any], args), expected, cast(dict[str, Any], kwargs)))
    return calls


_STDIO = {
    "language": _one_of(*get_args(Language)),
    "source": _text,
    "cases": _cases,
    "compare": _compare(*get_args(OutputCompare)),
    "stop_at_first_failure": _flag,
    "time_limit_s": _number_or_none,
}
_FUNCTION = {
    "source": _text,
    "entry_point": _text,
    "calls": _calls,
    "compare": _compare(*get_args(Compare)),
    "stop_at_first_failure": _flag,
    "time_limit_s": _number_or_none,
}
_ASSERTS = {
    "source": _text,
    "test_source": _text,
    "entry_point": _text,
    "setup_source": _text,
    "stop_at_first_failure": _flag,
    "time_limit_s": _number_or_none,
}
_SYNTAX = {"language": _one_of(*get_args(Language)), "source": _text}


def result_to_json(result: RunResult) -> dict[str, wire.Json]:
    """Every field by its name."""
    return asdict(result)


def result_from_json(raw: wire.Json) -> RunResult:
    """Raises ValueError for anything that is no result."""
    if not isinstance(raw, dict):
        raise ValueError("a result is a JSON object")
    return RunResult(**_fields(cast(dict[str, wire.Json], raw), _RESULT))


def _tests(raw: wire.Json) -> tuple[TestResult, ...]:
    return tuple(TestResult(**_fields(cast(dict[str, wire.Json], test), _TEST)) for test in _list(raw))


def _difference(raw: wire.Json) -> Difference | None:
    if raw is None:
        return None
    return Difference(**_fields(cast(dict[str, wire.Json], raw), _DIFFERENCE))


def _line(raw: wire.Json) -> str | None:
    return None if raw is None else _text(raw)


_DIFFERENCE = {"line": _whole, "expected": _line, "actual": _line}
_TEST = {
    "outcome": _one_of(*get_args(Outcome)),
    "detail": _text,
    "difference": _difference,
    "cpu_s": _number,
    "wall_s": _number,
    "peak_memory_bytes": _whole,
    "stderr": _text,
}
_RESULT = {
    "outcome": _one_of(*get_args(Outcome)),
    "tests": _tests,
    "num_tests": _whole,
    "isolation": _one_of(*get_args(Isolation)),
    "detail": _text,
    "cpu_s": _number,
    "wall_s": _number,
    "queue_s": _number,
    "peak_memory_bytes": _whole,
}
