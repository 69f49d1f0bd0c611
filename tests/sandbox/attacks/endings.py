"""Attacks by ending early, late or oddly: exit codes and faults prove nothing."""

from tests.sandbox.attacks.attack import Attack, asserts, function, program

ENDS = """
def f(n):
    {end}
"""


def _ends(name: str, end: str) -> Attack:
    return function(
        f"end: {name}",
        ENDS.format(end=end),
        "runtime_error",
        "wrong_answer",
        "time_limit",
        "memory_limit",
        "sandbox_violation",
    )


ENDS_EARLY: tuple[Attack, ...] = (
    _ends("sys.exit(0) in the function", "import sys; sys.exit(0)"),
    _ends("os._exit(0) in the function", "import os; os._exit(0)"),
    _ends("the status of a failed setup", "import os; os._exit(125)"),
    _ends("the status of a killed program", "import os; os._exit(137)"),
    _ends("kills itself", "import os; os.kill(os.getpid(), 9)"),
    _ends("kills itself for a forbidden call", "import os; os.kill(os.getpid(), 31)"),
    _ends("segmentation fault", "import ctypes; ctypes.string_at(0)"),
    _ends("keyboard interrupt", "raise KeyboardInterrupt"),
    _ends("bare exception class", "raise BaseException"),
    _ends("end of the generator", "raise GeneratorExit"),
    _ends("recursion", "return f(n + 1)"),
    _ends("deep recursion in C", "import sys; sys.setrecursionlimit(10**9); return f(n + 1)"),
    _ends("another program in its place", "import os; os.execv('/bin/true', ['true'])"),
    function("end: os._exit(0) at the import", "import os\nos._exit(0)\n", "runtime_error"),
    function("end: sys.exit(0) at the import", "raise SystemExit(0)\n", "runtime_error"),
    function(
        "end: closes every descriptor",
        "import os\nos.closerange(0, 65536)\ndef f(n):\n    return n\n",
        "runtime_error",
        "wrong_answer",
        "time_limit",
    ),
    function(
        "end: closes every descriptor in the function",
        "import os\ndef f(n):\n    os.closerange(0, 65536)\n    return n\n",
        "runtime_error",
        "time_limit",
    ),
    function(
        "end: swaps the descriptors",
        """
        import os
        def f(n):
            for fd in range(3, 64):
                try:
                    os.dup2(1, fd)
                except OSError:
                    pass
            return n
        """,
        "runtime_error",
        "wrong_answer",
        "time_limit",
    ),
    program("end: before the answer is written", "os._exit(0)\nprint('breached')"),
    program("end: with the status of a failed setup", "os._exit(125)", "runtime_error"),
    program("end: with every status", "os._exit(sum(map(ord, sys.stdin.read())) % 256)", "runtime_error", stdin="\x7e"),
    program("end: right answer, wrong status", "print('breached', flush=True)\nos._exit(1)", "runtime_error"),
    program("end: right answer, then a fault", "print('breached', flush=True)\nctypes.string_at(0)", "runtime_error"),
    program("end: right answer, then an exception", "print('breached', flush=True)\nraise ValueError", "runtime_error"),
    asserts(
        "end: before the asserts",
        "import sys\ndef f(n): return n\nsys.exit(0)\n",
        "assert f(1) == 2\n",
        "runtime_error",
    ),
    asserts("end: os._exit before the asserts", "import os\nos._exit(0)\n", "assert f(1) == 2\n", "runtime_error"),
    asserts(
        "end: in the check of the data set",
        "import os\ndef f(n): os._exit(0)\n",
        "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n",
        "runtime_error",
    ),
    asserts(
        "end: quietly in the check",
        "def f(n): raise SystemExit(0)\n",
        "def check(candidate):\n    assert candidate(1) == 2\n",
        "runtime_error",
        "wrong_answer",
    ),
)

LATE: tuple[Attack, ...] = (
    program("late: written at exit", "import atexit\natexit.register(lambda: os.write(1, b'late'))\nprint('breached')"),
    program(
        "late: written by a thread",
        "import threading, time\nthreading.Timer(0.1, lambda: os.write(1, b'late')).start()\nprint('breached')",
    ),
    program("late: swallows its own errors", "try:\n    raise ValueError\nexcept BaseException:\n    print('passed')"),
)

ATTACKS: tuple[Attack, ...] = (*ENDS_EARLY, *LATE)
