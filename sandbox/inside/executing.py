"""Other programs in place of the child: a compiler that it starts and waits for, a compiled program, an engine.

Everything here happens behind the walls, which hold for what is executed as they do for Python. `run` returns only for
a compiler, or when the program cannot be executed; then with a status as in programs.py.
"""

import os
from typing import Any

from sandbox.inside import programs

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TMPDIR": ".", "HOME": "/", "OPENSSL_CONF": "/dev/null"}
_CHUNK_BYTES = 1 << 20
_NOT_STARTED_STATUS = 127  # no compiler ends with it


def run(job: dict[str, Any]) -> int:
    """One job of mode "compile", "binary" or "engine"."""
    if job["mode"] == "compile":
        return _compile(job["arguments"], job["source_file"], job["result_file"])
    os.set_inheritable(programs.PROGRAM_FD, job["mode"] == "engine")  # a compiled program has no use for its own file
    target = programs.PROGRAM_FD if job["mode"] == "binary" else job["arguments"][0]
    os.execve(target, job["arguments"], {} if job["mode"] == "binary" else _ENVIRONMENT)
    return programs.FAILED_STATUS


def _compile(arguments: list[str], source_file: str, result_file: str) -> int:
    """Compile in the working folder, the only place that can be written; the result goes to standard output.

    What the compiler does is a compile error. FAILED_STATUS, like an OSError, is a failure of the sandbox.
    """
    with open(source_file, "wb") as file:
        while part := os.read(programs.PROGRAM_FD, _CHUNK_BYTES):
            file.write(part)
    if (pid := os.fork()) == 0:
        try:
            os.dup2(2, 1)  # what the compiler prints is a message, and standard output is for the result
            os.close(programs.PROGRAM_FD)
            os.execve(arguments[0], arguments, _ENVIRONMENT)
        except OSError as error:
            os.write(2, f"{arguments[0]}: {error}\n".encode())
        finally:
            os._exit(_NOT_STARTED_STATUS)
    _, status = os.waitpid(pid, 0)
    if status:
        is_ours = os.waitstatus_to_exitcode(status) == _NOT_STARTED_STATUS
        return programs.FAILED_STATUS if is_ours else programs.COMPILE_STATUS
    fd = os.open(result_file, os.O_RDONLY | os.O_NOFOLLOW)
    while part := os.read(fd, _CHUNK_BYTES):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(1, rest) :]
    return 0
