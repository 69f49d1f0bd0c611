"""Calls into the program, and test code that calls back: one frame in, one frame out, each with the request's nonce.

`serve` is the program's side: `[nonce, entry point, args, kwargs]` in, `[nonce, "value", value]` or
`[nonce, kind, text]` out. `serve_test` is the side of test code, in a process that never holds the program: a step of
code in, then any number of `["call", args, kwargs]` out, each answered, and `[nonce, "passed" | kind, text]` at last.
"""

import builtins
import types
from typing import Any, NoReturn

from sandbox.inside import wire

REQUEST_FD, REPLY_FD = 4, 5
_MAX_TEXT = 500
_exec, _repr, _type = exec, repr, type


def _text(error: BaseException) -> str:
    try:
        return f"{_type(error).__name__}: {error}"[:_MAX_TEXT].rstrip(": ")
    except BaseException:  # the program's own __str__ may do anything
        return _type(error).__name__


def _kind(error: BaseException) -> str:
    return "memory_limit" if isinstance(error, MemoryError) else "runtime_error"


def serve(code: types.CodeType, names: dict[str, Any]) -> None:
    """Load the program, then answer calls until the other end closes."""
    try:
        _exec(code, names)
    except BaseException as error:
        _reply([0, _kind(error), _text(error)])
        return
    _reply([0, "value", None])
    while True:
        try:
            nonce, entry_point, arguments, options = wire.loads(wire.read_frame(REQUEST_FD))
        except EOFError:
            return
        _reply([nonce, *_call(names, entry_point, wire.decode(arguments), wire.decode(options))])


def _call(names: dict[str, Any], entry_point: str, arguments: list[Any], options: dict[str, Any]) -> list[Any]:
    try:
        owner, _, method = entry_point.rpartition(".")
        function = getattr(names[owner](), method) if owner else names[method]
    except BaseException as error:
        return ["runtime_error", f"no {entry_point}: {_text(error)}", ""]
    try:
        value = function(*arguments, **options)
    except BaseException as error:
        return [_kind(error), _text(error), _type(error).__name__]
    try:
        return ["value", wire.encode(value)]
    except wire.TooLarge as error:
        return ["output_limit", f"returned {error}", ""]
    except wire.WireError as error:
        return ["wrong_answer", f"returned {error}", ""]
    except BaseException as error:
        return [_kind(error), f"while its value was read: {_text(error)}", ""]


def _reply(message: list[Any]) -> None:
    try:
        payload = wire.dumps(message)
    except RecursionError:
        payload = wire.dumps([message[0], "output_limit", "a value nested too deeply", ""])
    wire.write_frame(REPLY_FD, payload)


def serve_test(code: types.CodeType, names: dict[str, Any]) -> None:
    """Run the data set's own set-up code, then steps of test code until the other end closes."""
    _exec(code, names)
    _reply([0, "value", None])
    while True:
        try:
            nonce, name, step = wire.loads(wire.read_frame(REQUEST_FD))
        except EOFError:
            return
        names[name] = names["candidate"] = _forward
        try:
            _exec(compile(step, "test.py", "exec", dont_inherit=True), names)
        except AssertionError as error:
            _reply([nonce, "wrong_answer", _text(error)])
        except BaseException as error:
            _reply([nonce, _kind(error), _text(error)])
        else:
            _reply([nonce, "passed", ""])


def _forward(*arguments: Any, **options: Any) -> Any:
    """The stand-in for the program's function: the parent has it called in the program's own process."""
    _reply(["call", wire.encode(list(arguments)), wire.encode(options)])
    kind, value, *rest = wire.loads(wire.read_frame(REQUEST_FD))
    if kind == "value":
        return wire.decode(value)
    _raise(rest[0] if rest else "", value)


def _raise(name: str, text: str) -> NoReturn:
    """An exception of the built-in type that the program raised; anything else is a RuntimeError."""
    found = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        found = RuntimeError
    try:
        error = found(text)
    except TypeError:  # such as UnicodeDecodeError, made from several values
        error = RuntimeError(text)
    raise error
