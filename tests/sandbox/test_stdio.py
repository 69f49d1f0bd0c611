"""Whole programs behind real walls: what honest programs need works, and every way to end has its outcome."""

import asyncio
import time

import pytest

from sandbox import Checker, RunResult, Sandbox, StdioTask, SyntaxTask, TaskError

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


async def answer(box: Sandbox, source: str, stdin: str = "", expected: str = "") -> RunResult:
    return await box.run(StdioTask("python", source, [(stdin, expected)]))


HONEST = {
    "input": ("print(int(input()) + 1)", "41\n", "42"),
    "sys.stdin": ("import sys\nprint(sum(map(int, sys.stdin)))", "1\n2\n3", "6"),
    "open(0)": ("print(len(open(0).read().split()))", "a b c", "3"),
    "/dev/stdin": ("print(open('/dev/stdin').readline())", "hello\nworld", "hello"),
    "os.read with the file's size": ("import os\nprint(os.read(0, os.fstat(0).st_size).decode())", "abc", "abc"),
    "mmap of stdin": ("import mmap\nprint(mmap.mmap(0, 0, prot=mmap.PROT_READ)[:3])", "abc", "b'abc'"),
    "large input": ("print(sum(map(int, input().split())))", " ".join(["1"] * 300_000), "300000"),
    "exit": ("print(1)\nexit()\nprint(2)", "", "1"),
    "sys.exit(0)": ("import sys\nprint(1)\nsys.exit(0)", "", "1"),
    "main guard": ("if __name__ == '__main__': print(1)", "", "1"),
    "atexit": ("import atexit\natexit.register(print, 1)", "", "1"),
    "atexit after the main thread": (
        "import atexit, threading\natexit.register(lambda: print(threading.main_thread().is_alive()))", "", "False"),
    "closed streams": ("import sys\nprint(1)\nsys.stdout.close()\nsys.stderr.close()", "", "1"),
    "no streams": ("import sys\nprint(1)\nsys.stdout = sys.stderr = None", "", "1"),
    "deleted streams": ("import sys\nprint(1)\ndel sys.stdout, sys.stderr", "", "1"),
    "the first stream at the end": (
        "import io, sys\nsys.stdout = io.StringIO()\nprint(1)\nsys.__stdout__.write(sys.stdout.getvalue())", "", "1"),
    "a stream taken apart": (
        "import sys\nprint(1)\nf = sys.stdout.detach()\nf.write(b'2')\nsys.stdout = None", "", "1\n2"),
    "streams with name and mode": (
        "import sys\nprint(*((s.name, s.mode, s.buffer.raw.mode) for s in (sys.stdin, sys.stdout, sys.stderr)))", "",
        "('<stdin>', 'r', 'rb') ('<stdout>', 'w', 'wb') ('<stderr>', 'w', 'wb')"),
    "fast input and output as in contests": (
        "import os, sys\nfrom io import BytesIO, IOBase\n"
        "class Fast(IOBase):\n"
        "    def __init__(self, file):\n"
        "        self.buffer, self.fd = BytesIO(), file.fileno()\n"
        "        self.is_writable = 'x' in file.mode or 'r' not in file.mode\n"
        "    def read(self): return os.read(self.fd, 10**6).decode()\n"
        "    def write(self, text): self.buffer.write(text.encode())\n"
        "    def flush(self):\n"
        "        if self.is_writable: os.write(self.fd, self.buffer.getvalue()); self.buffer = BytesIO()\n"
        "sys.stdin, sys.stdout = Fast(sys.stdin), Fast(sys.stdout)\nprint(sum(map(int, sys.stdin.read().split())))",
        "3 4", "7"),
    "line ends of other systems": ("import sys\nprint(ascii(sys.stdin.read()))", "a\r\nb\rc", "'a\\r\\nb\\rc'"),
    "a callback of threading": ("import threading\nthreading._register_atexit(print, 1)", "", "1"),
    "unflushed threads": (
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.01), print(1))).start()", "", "1"),
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor as T\n"
        "with T(8) as t: print(sum(t.map(lambda x: x * x, range(10))))", "", "285"),
    "a thread with a large stack": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**28)\n"
        "def f(n): return n and f(n - 1) + 1\n"
        "t = threading.Thread(target=lambda: print(f(20000)))\nt.start()\nt.join()", "", "20000"),
    "raising the stack limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (2**29, 2**29))\nprint(1)", "", "1"),
    "deep recursion through C": (
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**6)\n"
        "@lru_cache(None)\ndef f(n): return n and f(n - 1) + 1\nprint(f(50000))", "", "50000"),
    "asyncio": ("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    print(1)\nasyncio.run(f())", "", "1"),
    "dataclasses and typing": (
        "from dataclasses import dataclass\nfrom typing import List\n"
        "@dataclass(order=True)\nclass P:\n    x: List[int]\nprint(P([1]) < P([2]))", "", "True"),
    "pickle of own classes": (
        "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", "", "A"),
    "libraries that load late": (
        "import sqlite3, zlib, bz2, lzma, hashlib, ssl, xml.etree.ElementTree, zoneinfo, uuid, csv, numbers, graphlib\n"
        "print(sqlite3.connect(':memory:').execute('select 1').fetchone()[0])", "", "1"),
    "decimal and fractions": ("from decimal import *\nfrom fractions import *\nprint(Fraction(1, 3) + 1)", "", "4/3"),
    "unicode": ("print(input()[::-1])", "añ€😀", "😀€ña"),
    "a signal handler for itself": (
        "import signal, os\nsignal.signal(signal.SIGUSR1, lambda *_: print(1))\nos.kill(os.getpid(), signal.SIGUSR1)",
        "", "1"),
    "an alarm": (
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: print(1))\n"
        "signal.setitimer(signal.ITIMER_REAL, .01)\nsignal.pause()", "", "1"),
    "time and randomness": ("import time, random, secrets\n"
        "print(time.time() > 0, random.random() < 1, secrets.randbelow(1))",
                            "", "True True 0"),
    "stderr does not count": ("import sys\nprint(1)\nprint('debug' * 1000, file=sys.stderr)", "", "1"),
    "a class named like the runner's": ("class job: pass\nsource = code = module = 1\nprint(1)", "", "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
async def test_honest_programs_pass(box: Sandbox, name: str) -> None:
    source, stdin, expected = HONEST[name]
    result = await answer(box, source, stdin, expected)
    assert result.passed, result
    assert result.isolation == box.isolation


ENDINGS = {
    "wrong": ("print(41)", "wrong_answer"),
    "nothing printed": ("", "wrong_answer"),
    "not UTF-8": ("import sys\nsys.stdout.buffer.write(b'\\xff')", "wrong_answer"),
    "raised": ("1 / 0", "runtime_error"),
    "right and then raised": ("print(42)\n1 / 0", "runtime_error"),
    "right and then a status": ("print(42)\nimport sys\nsys.exit(3)", "runtime_error"),
    "a status of its own": ("print(42, flush=True)\nimport os\nos._exit(125)", "runtime_error"),
    "a crash": ("import ctypes\nctypes.string_at(0)", "runtime_error"),
    "abort": ("import os\nos.abort()", "runtime_error"),
    "endless": ("while True: pass", "time_limit"),
    "endless in threads": (
        "import threading\nfor _ in range(4): threading.Thread(target=lambda: [0 for _ in iter(int, 1) if _]).start()",
        "time_limit"),
    "deaf to signals": (
        "import signal\nfor s in range(1, 65):\n"
            "    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass", "time_limit"),
    "a huge power": ("print(9**9**9)", "time_limit"),
    "too much memory": ("x = bytearray(2**31)", "memory_limit"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(2**20))", "memory_limit"),
    "over the limit, though there was room": ("x = b'a' * (300 * 2**20)\nprint(42)", "memory_limit"),
    "endless output": ("while True: print('a' * 1000)", "output_limit"),
    "endless stderr": ("import sys\nwhile True: print('a' * 1000, file=sys.stderr)", "output_limit"),
    "no Python": ("print(42", "compile_error"),
    "a null byte": ("print(42)\0", "compile_error"),
    "a lone surrogate": ("print('\ud800')", "compile_error"),
    "too deep to parse": ("(" * 500 + ")" * 500, "compile_error"),
    "too long": ("#" * 600_000, "compile_error"),
    "fork": ("import os\nos.fork()\nprint(42)", "runtime_error"),
    "exec": ("import os\nos.execv('/bin/echo', ['echo', '42'])", "runtime_error"),
    "subprocess": ("import subprocess\nsubprocess.run(['echo', '42'])", "runtime_error"),
    "multiprocessing": (
        "import multiprocessing as m\nif __name__ == '__main__': m.get_context('fork').Process(target=print).start()",
        "runtime_error"),
    "socket": ("import socket\nsocket.socket()", "runtime_error"),
    "ptrace": ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", "sandbox_violation"),
    "mount": ("import ctypes\nctypes.CDLL(None).mount(b'x', b'/', b'tmpfs', 0, 0)", "sandbox_violation"),
    "unshare": ("import ctypes\nctypes.CDLL(None).unshare(0x10000000)", "sandbox_violation"),
    "recursion": ("def f(): f()\nf()", "runtime_error"),
    "closes the output": ("import os\nos.close(1)\nprint(42)", "runtime_error"),
    "raises on exit": ("import atexit\nprint(42)\natexit.register(lambda: 1 / 0)", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
async def test_each_way_to_end_has_its_outcome(box: Sandbox, name: str) -> None:
    source, outcome = ENDINGS[name]
    result = await answer(box, source, "", "42")
    if outcome is None:  # the interpreter itself reports an error in atexit and goes on to exit with 0
        assert result.passed
    else:
        assert result.outcome == outcome, result
    assert (await answer(box, "print(42)", "", "42")).passed, "the next run is untouched"


async def test_all_tests_can_be_run_after_a_failure(box: Sandbox) -> None:
    cases = [("1", "1"), ("2", "3"), ("3", "3")]
    first = await box.run(StdioTask("python", "print(input())", cases))
    assert [test.outcome for test in first.tests] == ["passed", "wrong_answer"]
    every = await box.run(StdioTask("python", "print(input())", cases, stop_at_first_failure=False))
    assert [test.outcome for test in every.tests] == ["passed", "wrong_answer", "passed"]
    assert every.passed_share == pytest.approx(2 / 3)
    assert every.tests[1].difference is not None
    assert (every.tests[1].difference.expected, every.tests[1].difference.actual) == ("3", "2")


async def test_costs_are_measured(box: Sandbox) -> None:
    result = await answer(
        box, "x = bytearray(60 * 2**20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint(1)", "", "1"
    )
    assert result.passed
    assert 60 * 2**20 < result.peak_memory_bytes < 120 * 2**20
    assert 0 < result.cpu_s <= result.wall_s + 0.1


async def test_waiting_for_a_worker_is_told_from_running(box: Sandbox) -> None:
    sleepers = [box.run(StdioTask("python", "import time\ntime.sleep(.2)", [("", "")])) for _ in range(6)]
    results = await asyncio.gather(*sleepers)
    assert all(result.passed for result in results)
    assert max(result.queue_s for result in results) > 0.35  # two workers: the last pair waits for two others
    assert all(result.wall_s < result.queue_s + 0.2 + 10 for result in results)
    assert min(result.queue_s for result in results) < 0.1


async def test_a_sleeper_is_ended_by_the_clock() -> None:
    from sandbox import SandboxLimits

    async with Sandbox(SandboxLimits(cpu_s=1.0, wall_s=0.3), workers=1) as quick:
        started = time.monotonic()
        result = await answer(quick, "import time\ntime.sleep(60)")
        assert result.outcome == "time_limit"
        assert "clock" in result.detail
        assert time.monotonic() - started < 10
        assert result.cpu_s < 0.3


async def test_runs_share_no_state(box: Sandbox) -> None:
    leave = (
        "import builtins, sys, random, os\nbuiltins.left = 1\nsys.left = 1\nos.environ['LEFT'] = '1'\nrandom.seed(1)\n"
        "import math\nmath.pi = 3\ntry: open('left', 'w').write('x')\nexcept OSError: pass\nprint(1)"
    )
    look = (
        "import builtins, sys, math, os\n"
        "print(hasattr(builtins, 'left'), hasattr(sys, 'left'), math.pi > 3.1, dict(os.environ), end=' ')\n"
        "print(os.path.exists('left'))"
    )
    for _ in range(3):
        assert (await answer(box, leave, "", "1")).passed
        result = await answer(box, look, "", "False False True {} False")
        assert result.passed, result


async def test_random_numbers_differ_between_runs(box: Sandbox) -> None:
    shown: set[str | None] = set()
    for _ in range(5):
        result = await answer(box, "import random\nprint(random.random())", "", "never")
        assert result.tests[0].difference is not None
        shown.add(result.tests[0].difference.actual)
    assert len(shown) == 5


async def test_nothing_of_the_sandbox_is_importable(box: Sandbox) -> None:
    source = (
        "import sys\ntry:\n    import sandbox\nexcept ImportError:\n    print(any('sandbox' in m for m in sys.modules))"
    )
    assert (await answer(box, source, "", "False")).passed


async def test_a_checker_decides_where_many_answers_are_right(box: Sandbox) -> None:
    source = "def check(input, expected, actual):\n    return sum(map(int, actual.split())) == int(input)"
    task = StdioTask("python", "n = int(input())\nprint(1, n - 1)", [("5", ""), ("9", "")], Checker(source))
    assert (await box.run(task)).passed
    wrong = StdioTask("python", "print(1, 1)", [("5", "")], Checker(source))
    assert (await box.run(wrong)).outcome == "wrong_answer"
    raising = StdioTask("python", "print('x')", [("5", "")], Checker(source))
    result = await box.run(raising)
    assert (result.outcome, "ValueError" in result.detail) == ("wrong_answer", True)


@pytest.mark.parametrize(
    ("source", "says"),
    [("def check(:", "does not load"), ("1 / 0", "does not load"), ("def check(i, e, a): return 1", "True and False")],
)
async def test_a_broken_checker_is_the_tasks_fault(box: Sandbox, source: str, says: str) -> None:
    with pytest.raises(TaskError, match=says):
        await box.run(StdioTask("python", "print(1)", [("", "")], Checker(source)))


async def test_syntax_is_checked_without_running_anything(box: Sandbox) -> None:
    assert (await box.run(SyntaxTask("python", "while True: pass"))).passed
    assert (await box.run(SyntaxTask("python", "while True pass"))).outcome == "compile_error"
    assert (await box.run(SyntaxTask("python", "return 1"))).outcome == "compile_error"
