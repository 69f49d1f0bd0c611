"""Test code taken apart: simple lines become a call and a value, everything else steps that run one after the other."""

import ast
from dataclasses import dataclass
from typing import Any

from sandbox.results import TaskError

CHECK = "check"  # HumanEval's name for the function that gets the candidate


@dataclass(frozen=True, slots=True)
class SimpleAssert:
    """`assert f(*args, **kwargs) == expected`, all of it literals."""

    args: list[Any]
    kwargs: dict[str, Any]
    expected: Any


def simple(test_source: str, entry_point: str) -> list[SimpleAssert] | None:
    """Every statement as a simple assertion; None when one of them is anything else."""
    found: list[SimpleAssert] = []
    for statement in ast.parse(test_source).body:
        match statement:
            case ast.Assert(test=ast.Compare(left=call, ops=[ast.Eq()], comparators=[expected])):
                parts = _call_of(call, entry_point)
                try:
                    value = ast.literal_eval(expected)
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                    return None
                if parts is None:
                    return None
                found.append(SimpleAssert(*parts, value))
            case _:
                return None
    return found


def _call_of(node: ast.expr, entry_point: str) -> tuple[list[Any], dict[str, Any]] | None:
    """(args, kwargs) of `entry_point(literals)`."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name == entry_point:
            try:
                kwargs = {word.arg: ast.literal_eval(word.value) for word in keywords if word.arg is not None}
                args = [ast.literal_eval(argument) for argument in arguments]
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return None
            return (args, kwargs) if len(kwargs) == len(keywords) else None
        case _:
            return None


def steps(test_source: str, entry_point: str) -> list[str]:
    """Pieces of code, in order, each of which asserts something when it runs; imports and definitions go before it.

    A function `check` that nothing calls is called with the candidate. Raises TaskError when nothing is asserted.
    """
    body = ast.parse(test_source).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    if CHECK in defined and not any(_calls(node, {CHECK}) for node in body if not isinstance(node, ast.FunctionDef)):
        body = [*body, *ast.parse(f"{CHECK}({entry_point})").body]
    found: list[str] = []
    waiting: list[ast.stmt] = []
    for node in body:
        waiting.append(node)
        if _asserts(node) or _calls(node, defined):
            found.append(_text(waiting))
            waiting = []
    if not found or not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(test_source))):
        raise TaskError("test_source asserts nothing when it runs: every program would pass")
    if waiting:
        found[-1] = f"{found[-1]}\n{_text(waiting)}"
    return found


def _text(nodes: list[ast.stmt]) -> str:
    return ast.unparse(ast.Module(nodes, []))


def _runs(node: ast.stmt) -> list[ast.AST]:
    """The nodes of a statement that run with it: all but the insides of what it only defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    return list(ast.walk(node))


def _asserts(node: ast.stmt) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in _runs(node))


def _calls(node: ast.stmt, names: set[str]) -> bool:
    return any(
        isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in names
        for inner in _runs(node)
    )
