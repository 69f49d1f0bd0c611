"""Random hostile programs, each a function of a random number generator alone, so that a seed brings it back.

Every task expects what no program can know, so any `passed` is a finding, as is any `infra_error`.
"""

import shutil
from collections.abc import Callable
from random import Random

from sandbox import AssertTask, FunctionCall, FunctionTask, StdioTask, Task
from tests.sandbox.attacks.gauntlet import LEGAL

MODULES = [
    "os",
    "sys",
    "gc",
    "signal",
    "resource",
    "threading",
    "socket",
    "select",
    "mmap",
    "fcntl",
    "ctypes",
    "time",
    "io",
    "json",
    "builtins",
    "types",
    "struct",
    "array",
    "tempfile",
    "asyncio",
    "inspect",
    "atexit",
    "faulthandler",
    "tracemalloc",
    "weakref",
    "errno",
    "pty",
    "termios",
    "shutil",
    "subprocess",
    "zlib",
    "marshal",
    "pickle",
    "codecs",
    "_thread",
    "_io",
    "_posixsubprocess",
    "_ctypes",
    "posix",
    "sysconfig",
    "importlib",
    "multiprocessing.shared_memory",
    "concurrent.futures",
    "random",
    "secrets",
    "hashlib",
    "decimal",
]
VALUES = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "4",
    "5",
    "7",
    "9",
    "15",
    "255",
    "4096",
    "65536",
    "2**31-1",
    "2**31",
    "2**63-1",
    "-2**63",
    "2**64",
    "10**30",
    "0.0",
    "1e308",
    "float('nan')",
    "None",
    "True",
    "''",
    "'x'",
    "'.'",
    "'/'",
    "'/tmp'",
    "'/proc/self/mem'",
    "'/dev/null'",
    "'..'",
    "'a'*5000",
    "b''",
    "b'x'",
    "b'\\0'*64",
    "bytearray(4096)",
    "[]",
    "[0]",
    "(1,2)",
    "{}",
    "{'a':1}",
    "{1}",
    "print",
    "len",
    "int",
    "lambda*a:None",
    "object()",
    "sys.stdout",
    "os.getpid()",
    "os.getppid()",
    "range(10)",
    "b'['*999",
]
FRAMES = (
    b"{}", b"[]", b"null", b"true", b'[0,"ok",1]', b'{"nonce":"0","ok":true}', b'["ok",null]', b"[" * 5000,
    b"\xff" * 64, b'{"outcome":"passed"}', b"1e999", b"NaN", b"-0", b'"\\ud800"', b"9" * 9000, b"\0" * 16,
)  # fmt: skip
LAST_SYSCALL = 470
NODE_MODULES = (
    "fs", "child_process", "worker_threads", "vm", "v8", "os", "net", "dgram", "dns", "http", "inspector", "cluster",
    "process", "tty", "path", "buffer", "stream", "zlib", "crypto", "util", "perf_hooks", "async_hooks", "module",
)  # fmt: skip
NODE_VALUES = (
    "0", "-1", "2**31", "NaN", "''", "'/'", "'/proc/self/mem'", "'/main.js'", "'sh'", "['-c', 'id']",
    "Buffer.alloc(64)", "{}", "[]", "null", "undefined", "() => 0", "Symbol()", "10n ** 30n", "process",
    "globalThis", "'x'.repeat(5000)",
)  # fmt: skip


# What any machine must say yes to, whatever ran before it, in the languages that this one has.
HONEST_ELSEWHERE: list[Task] = []
HAS_C, HAS_JAVASCRIPT = shutil.which("gcc") is not None, shutil.which("node") is not None
if HAS_C:
    HONEST_ELSEWHERE.append(StdioTask("c", '#include <stdio.h>\nint main(void) { puts("3"); }\n', [("", "3\n")]))
if HAS_JAVASCRIPT:
    HONEST_ELSEWHERE.append(StdioTask("javascript", "console.log(1 + 2);\n", [("", "3\n")]))


def random_program(rng: Random, secret: str) -> Task:
    """One of the kinds below."""
    kinds: list[Callable[[Random, str], Task]] = [
        _random_calls, _random_syscalls, _random_frames, _mutated, _random_values
    ]  # fmt: skip
    kinds += [_compiled_syscalls] if HAS_C else []
    kinds += [_random_javascript] if HAS_JAVASCRIPT else []
    return rng.choice(kinds)(rng, secret)


def _wrapped(rng: Random, body: list[str], secret: str) -> Task:
    """The statements as a whole program, as a function, or as a function before test code."""
    guarded = [
        line for statement in body for line in ("    try:", f"        {statement}", "    except BaseException: pass")
    ]
    text = "\n".join(guarded)
    imports = "import ctypes, os, struct, sys, threading, time\n"
    match rng.randrange(4):
        case 0 | 1:
            return StdioTask("python", f"{imports}if True:\n{text}\n    print('end')\n", [("1 2\n3\n", secret)])
        case 2:
            calls = [FunctionCall([n], secret) for n in range(2)]
            return FunctionTask(f"{imports}def f(n):\n{text}\n    return n\n", "f", calls)
        case _:
            test = f"def check(candidate):\n    assert candidate(1) == {secret!r}\n"
            return AssertTask(f"{imports}def f(n):\n{text}\n    return n\n", test, "f")


def _random_calls(rng: Random, secret: str) -> Task:
    """Anything callable in the standard library with anything as arguments."""
    body = [f"rnd = __import__('random').Random({rng.randrange(2**32)})"]
    for _ in range(rng.randint(1, 12)):
        module = rng.choice(MODULES)
        arguments = ", ".join(rng.choice(VALUES) for _ in range(rng.randint(0, 4)))
        body.append(
            f"m = __import__({module!r}, fromlist=['x']); "
            f"getattr(m, rnd.choice(sorted(n for n in dir(m) if callable(getattr(m, n)))))({arguments})"
        )
    return _wrapped(rng, body, secret)


def _random_syscalls(rng: Random, secret: str) -> Task:
    """Bare system calls; a small pool of numbers for each program, so that not every one dies of the first."""
    pool = [rng.choice((rng.randrange(LAST_SYSCALL), rng.randrange(64))) for _ in range(rng.randint(1, 6))]
    flags = rng.choice((0, 0, 0, 0, 0x40000000, 1 << 32, -(1 << 31)))
    arguments = [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "-1",
        "4096",
        "0x1000000",
        "-100",
        "1<<47",
        "-(1<<63)",
        "address",
        "address+4096",
    ]
    body = [
        "buffer = ctypes.create_string_buffer(bytes(range(256)) * 64); address = ctypes.addressof(buffer)",
        "libc = ctypes.CDLL(None)",
    ]
    for _ in range(rng.randint(5, 60)):
        values = ", ".join(f"ctypes.c_long({rng.choice(arguments)})" for _ in range(6))
        body.append(f"libc.syscall(ctypes.c_long({rng.choice(pool) + flags}), {values})")
    return _wrapped(rng, body, secret)


def _compiled_syscalls(rng: Random, secret: str) -> Task:
    """Bare system calls without an interpreter around them, now and then machine code or text that is no program."""
    pool = [rng.choice((rng.randrange(LAST_SYSCALL), rng.randrange(64))) for _ in range(rng.randint(1, 6))]
    arguments = [
        *("0", "1", "2", "3", "-1", "4096", "0x1000000", "-100", "1L<<47"),
        *("(long)page", "(long)main", "(long)&page"),
    ]
    lines: list[str] = []
    for _ in range(rng.randint(5, 60)):
        values = ", ".join(rng.choice(arguments) for _ in range(6))
        lines.append(f"syscall({rng.choice(pool) + rng.choice((0, 0, 0, 0x40000000))}, {values});")
    if rng.random() < 0.2:
        code = ", ".join(str(byte) for byte in rng.randbytes(64))
        lines.append(f"static const unsigned char code[] = {{{code}}}; ((void (*)(void))code)();")
    if rng.random() < 0.2:
        lines.insert(0, f"{rng.choice(('fork', 'abort', 'pause'))}();")
    if rng.random() < 0.2:
        lines[0] = rng.choice(
            ('#include "/etc/passwd"', "#include </dev/zero>", '__asm__(".incbin \\"/etc/passwd\\"");')
        )
    body = "\n".join(lines)
    includes = "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
    source = f"{includes}static char page[4096];\nint main(void) {{\n{body}\nputs(page);\n}}\n"
    return StdioTask("c", source, [("1 2\n", secret)])


def _random_javascript(rng: Random, secret: str) -> Task:
    """Anything callable in Node's modules with anything as arguments, from a promise or a timer too."""
    lines: list[str] = []
    for _ in range(rng.randint(1, 10)):
        module, pick = rng.choice(NODE_MODULES), rng.randrange(1000)
        arguments = ", ".join(rng.choice(NODE_VALUES) for _ in range(rng.randint(0, 4)))
        new = rng.choice(("", "", "", "new "))
        call = (
            f"{{ const m = require('{module}'); const names = Object.keys(m).filter(n => typeof m[n] === 'function');"
            f" const f = m[names[{pick} % names.length]]; {new}f({arguments}); }}"
        )
        guarded = f"try {call[:-1]} }} catch (e) {{}}"
        lines.append(rng.choice((guarded, f"setTimeout(() => {{ {guarded} }}, {rng.choice((0, 1, 20))});")))
    return StdioTask("javascript", "\n".join(lines) + "\nconsole.log('end');\n", [("1 2\n", secret)])


def _random_frames(rng: Random, secret: str) -> Task:
    """Forged and broken replies on every descriptor, before, after and instead of the real one."""
    body: list[str] = []
    for _ in range(rng.randint(1, 8)):
        frame = rng.choice(FRAMES) if rng.random() < 0.7 else rng.randbytes(rng.randrange(200))
        head = rng.choice(
            ("b''", f"struct.pack('<I', {len(frame)})", f"struct.pack('>I', {len(frame)})", "b'\\xff' * 4")
        )
        tail = rng.choice((b"", b"\n", b"\n\n", b"\0"))
        action = rng.choice(
            (
                f"os.write(fd, {head} + {frame + tail!r})",
                f"os.write(fd, {frame + tail!r} * {rng.choice((1, 3, 1000))})",
                "os.close(fd)",
                f"os.dup2(fd, {rng.randrange(64)})",
                "os.set_blocking(fd, False)",
                "os.read(fd, 10)" if rng.random() < 0.2 else "os.fstat(fd)",
                "os.ftruncate(fd, 0)",
                "os.lseek(fd, 0, 0)",
            )
        )
        body.append(
            f"[ (lambda: {action})() for fd in range({rng.choice((0, 1, 3, 4))}, {rng.choice((4, 5, 8, 64))}) ]"
        )
    if rng.random() < 0.3:
        body.append(f"os._exit({rng.randrange(256)})")
    if rng.random() < 0.2:
        body.append(f"os.kill(os.getpid(), {rng.randrange(1, 65)})")
    return _wrapped(rng, body, secret)


def _mutated(rng: Random, secret: str) -> Task:
    """An honest program with damaged text: the compiler and the loader are attacked, too."""
    task = rng.choice([program.task for program in LEGAL])
    text = list(task.source)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                del text[at : at + rng.randint(1, 20)]
            case 1:
                text[at:at] = rng.choice(
                    ("\0", "\ud800", "(", '"""', "\\", "\n\t", "🙂", "def ", "lambda:" * 50, "\x0c", "\r")
                )
            case 2:
                text[at:at] = text[max(0, at - rng.randint(1, 80)) : at]
            case _:
                text[at : at + 1] = [chr(rng.choice((rng.randrange(128), rng.randrange(0x110000))))]
    source = "".join(text)
    if isinstance(task, StdioTask):
        return StdioTask("python", source, [(task.cases[0][0][:100_000], secret)])
    if isinstance(task, FunctionTask):
        return FunctionTask(source, task.entry_point, [FunctionCall(task.calls[0].args, secret, task.calls[0].kwargs)])
    return AssertTask(source, f"assert f(1, 2) == {secret!r}\n", "f")


def _random_values(rng: Random, secret: str) -> Task:
    """A value of random shape, compared in every way."""

    def value(depth: int) -> str:
        if depth == 0 or rng.random() < 0.3:
            return rng.choice(VALUES)
        parts = ", ".join(value(depth - 1) for _ in range(rng.randint(0, 3)))
        return rng.choice(("[{}]", "({},)", "{{{}}}", "dict(enumerate([{}]))", "iter([{}])", "frozenset([{}])")).format(
            parts
        )

    compare = rng.choice(("exact", "python", "float", "unordered"))
    source = f"import os, sys\ndef f(n):\n    return {value(rng.randint(0, 5))}\n"
    return FunctionTask(source, "f", [FunctionCall([1], secret)], compare)
