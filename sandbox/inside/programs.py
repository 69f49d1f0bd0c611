"""Runs the program once the child is confined: as a whole, as functions to call, as a test, or only its compiler.

Nothing here is a wall: the program shares this interpreter and may do what it likes to it. What this code reports
decides only between kinds of failure; whether an answer is right is decided elsewhere.
"""

import _sitebuiltins
import _thread
import atexit
import builtins
import io
import linecache
import os
import sys
import threading
import types
from typing import Any, cast

from sandbox.inside import calls

PROGRAM_FD = 3
FAILED_STATUS, COMPILE_STATUS, MEMORY_STATUS = 1, 99, 98
FILE_NAME = "main.py"
_MODULE_NAME = "main"  # of what is loaded for its functions: lines below `if __name__ == "__main__"` are not for that
_real_open: Any = open
_threading: Any = threading  # these three for what the interpreter itself calls at its end
_low_level: Any = _thread
_atexit: Any = atexit
_hidden: list[types.ModuleType] = []  # kept alive
_outputs: list[Any] = []  # that the interpreter would flush at its end, whatever the program has put in their place


def run(job: dict[str, Any]) -> int:
    """The exit status of one job of mode "program", "functions", "test" or "syntax"; the others are executing.py's."""
    source = _read_all(PROGRAM_FD)
    try:
        code = compile(source, FILE_NAME, "exec", dont_inherit=True)
    except MemoryError:
        return MEMORY_STATUS
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        sys.excepthook(type(error), error, None)
        return _finish(COMPILE_STATUS)
    if job["mode"] == "syntax":
        return 0
    name = "__main__" if job["mode"] == "program" else _MODULE_NAME
    module = types.ModuleType(name)
    module.__dict__.update(__file__=FILE_NAME, __builtins__=builtins)
    sys.modules["__main__"] = sys.modules[name] = module
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[FILE_NAME] = (len(source), None, lines, FILE_NAME)  # so that tracebacks show the line
    if job["mode"] == "functions":
        return _guarded(calls.serve, code, module.__dict__)
    if job["mode"] == "test":
        return _guarded(calls.serve_test, code, module.__dict__)
    return _guarded(exec, code, module.__dict__)


def prepare_interpreter() -> None:
    """Once, in the zygote: as if just started, without traces of the zygote, with what `site` would have added.

    Every page that a child writes to is a page of its own from then on, so nothing of this is left to the child.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
        _hidden.append(sys.modules.pop(name))
    sys.argv = [FILE_NAME]
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.open = cast(Any, _open)
    _open_streams()


def _open_streams() -> None:
    """The three standard ones, made once for all children, each of which puts its own files behind 0, 1 and 2.

    What they ask of those files when they are made must be true of a child's: input from memory, output to pipes.
    """
    kept = [os.dup(fd) for fd in range(3)]
    read_end, write_end = os.pipe()
    memory = os.memfd_create("stdin")
    for position, fd in enumerate((memory, write_end, write_end)):
        os.dup2(fd, position)
    stdin = _stream("<stdin>", io.BufferedReader(io.FileIO(0, "r", closefd=False), 1 << 16), "r", "surrogateescape")
    stdout = _stream("<stdout>", io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "w", "surrogateescape")
    stderr = _stream("<stderr>", io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "w", "backslashreplace")
    stderr.reconfigure(line_buffering=True)
    sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = stdin, stdout, stderr  # type: ignore[misc]
    _outputs.extend((stdout, stdout.buffer, stderr, stderr.buffer))
    for position, fd in enumerate(kept):
        os.dup2(fd, position)
    for fd in (*kept, memory, read_end, write_end):
        os.close(fd)


def _stream(name: str, binary: Any, mode: str, errors: str) -> io.TextIOWrapper:
    """As the interpreter makes its own (create_stdio in CPython's pylifecycle.c): programs ask for name and mode."""
    binary.raw.name = name
    stream: Any = io.TextIOWrapper(binary, "utf-8", errors, newline="\n")
    stream.mode = mode
    return stream


def _read_all(fd: int) -> bytes:
    """A file in memory as one piece, and closed."""
    data = os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)
    os.close(fd)
    return data


def _open(file: Any, *arguments: Any, **options: Any) -> Any:
    """`open`, with /dev/stdin and its like working without /proc, where their links point to."""
    if type(file) is str and file in _STANDARD_STREAMS:
        file = os.dup(_STANDARD_STREAMS[file])
    return _real_open(file, *arguments, **options)


_STANDARD_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/0": 0, "/proc/self/fd/0": 0}


def _guarded(function: Any, *arguments: Any) -> int:
    """Call it, and turn the way it ends into an exit status as the interpreter does."""
    status = 0
    try:
        function(*arguments)
    except SystemExit as error:
        status = _exit_status(error.code)
    except MemoryError:
        status = MEMORY_STATUS
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__ and error.__traceback__.tb_next)  # without this frame
        status = FAILED_STATUS
    return _finish(status)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return FAILED_STATUS


def _finish(status: int) -> int:
    """What the interpreter does at its end and programs rely on: other threads, atexit, buffers."""
    try:
        if _something_is_left():
            _threading._shutdown()
            _atexit._run_exitfuncs()
        _flush(getattr(sys, "stdout", None))
        for stream in _outputs:
            _flush(stream)
    except SystemExit as error:
        status = status or _exit_status(error.code)
    except BaseException:
        status = status or FAILED_STATUS
    try:
        _flush(getattr(sys, "stderr", None))
    except (OSError, ValueError):
        return status or FAILED_STATUS
    return status


def _something_is_left() -> bool:
    """For threads or at the exit; to look costs less than to do it for nothing."""
    return bool(_low_level._count() or _atexit._ncallbacks() or _threading._threading_atexits)


def _flush(stream: Any) -> None:
    """A stream that the program has closed, taken apart or taken away has nothing left to write."""
    if stream is None:
        return
    try:
        is_closed = getattr(stream, "closed", False)
    except ValueError:  # detached
        return
    if not is_closed:
        stream.flush()
