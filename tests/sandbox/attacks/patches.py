"""Attacks on the channel of the verdict: patched builtins, forged replies, tests that are looked for."""

from tests.sandbox.attacks.answers import LIAR
from tests.sandbox.attacks.attack import Attack, asserts, function

PATCHES: tuple[Attack, ...] = (
    function(
        "patch: encoder, builtins and operators",
        """
        import builtins, json, json.encoder, json.decoder, operator, os, struct, sys
        json.dumps = json.JSONEncoder.encode = json.encoder.c_make_encoder = lambda *a, **k: '[0, "ok", true]'
        json.loads = lambda *a, **k: [0, "ok", True]
        builtins.repr = builtins.str = lambda *a: "passed"
        builtins.len = lambda *a: 0
        builtins.isinstance = builtins.issubclass = builtins.all = builtins.any = lambda *a: True
        builtins.type = lambda *a: int
        operator.eq = lambda *a: True
        struct.pack = lambda *a: b""
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "patch: the functions that write",
        """
        import io, os, sys
        os.write = lambda fd, data: len(data)
        os.read = lambda fd, n: b""
        sys.stdout = sys.stderr = sys.stdin = None
        io.open = open = print = None
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "patch: the runner's own frames",
        """
        import sys
        def f(n):
            frame = sys._getframe(1)
            while frame:
                for name, value in list(frame.f_locals.items()):
                    if isinstance(value, dict):
                        value.update(outcome="passed", ok=True)
                    elif isinstance(value, list):
                        value[:] = [True for _ in value]
                for name, value in list(frame.f_globals.items()):
                    if callable(value) and not name.startswith("__") and frame.f_globals is not globals():
                        frame.f_globals[name] = lambda *a, **k: True
                frame = frame.f_back
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "patch: tracing every line of the runner",
        """
        import sys
        def trace(frame, event, argument):
            frame.f_locals.update(value=True, result=True, expected=True)
            return trace
        sys.settrace(trace)
        sys.setprofile(trace)
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "patch: import hooks",
        """
        import builtins, sys
        class Finder:
            def find_spec(self, *a): raise SystemExit(0)
        sys.meta_path.insert(0, Finder())
        sys.path_hooks.insert(0, lambda p: Finder())
        builtins.__import__ = lambda *a, **k: sys.exit(0)
        sys.modules.clear()
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "reply: to every descriptor, before it is asked",
        """
        import json, os, struct, threading
        def shout():
            while True:
                for fd in range(3, 64):
                    for nonce in range(4):
                        for value in ([nonce, "ok", 1], {"nonce": nonce, "outcome": "passed"}, ["ok", nonce, True]):
                            data = json.dumps(value).encode()
                            for frame in (data + b"\\n", struct.pack("<I", len(data)) + data,
                                          struct.pack(">I", len(data)) + data, struct.pack("<Q", len(data)) + data):
                                try:
                                    os.write(fd, frame)
                                except OSError:
                                    break
        threading.Thread(target=shout, daemon=True).start()
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "output_limit",
        "time_limit",
    ),
    function(
        "reply: frames of absurd length",
        """
        import os
        def f(n):
            for fd in range(3, 64):
                try:
                    os.write(fd, b"\\xff" * 4096)
                except OSError:
                    pass
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "output_limit",
        "time_limit",
    ),
    function(
        "reply: the one before again",
        """
        import os, sys
        seen = []
        write = os.write
        def record(fd, data):
            seen.append((fd, bytes(data)))
            write(fd, data)
            for old in seen:
                write(*old)
            return len(data)
        os.write = record
        def f(n):
            return 1
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
    ),
    function(
        "reply: one that is never finished",
        """
        import os, time
        def f(n):
            for fd in range(3, 64):
                try:
                    os.write(fd, b"\\x08\\0\\0\\0[")
                except OSError:
                    pass
            time.sleep(1e6)
        """,
        "runtime_error",
        "wrong_answer",
        "time_limit",
        "output_limit",
    ),
    asserts(
        "patch: the meaning of assert",
        """
        import builtins
        class Quiet(AssertionError):
            def __new__(cls, *a): return None
        builtins.AssertionError = AssertionError = Quiet
        __debug__ if True else None
        def check(candidate): return True
        def f(n): return 1
        """,
        "def check(candidate):\n    assert candidate(1) == @NUMBER@\n",
    ),
    asserts(
        "patch: the name of the function",
        """
        class F:
            def __call__(self, *a): return self
            def __eq__(self, other): return True
            def __getattr__(self, name): return self
        f = candidate = F()
        """,
        "def check(candidate):\n    assert candidate(1) == @NUMBER@\n",
        "wrong_answer",
        "runtime_error",
        "output_limit",
    ),
    asserts(
        "patch: a liar before plain asserts",
        LIAR.format(base="(int)") + "def f(n): return Liar()\n",
        "assert f(1) == @NUMBER@\nassert f(2) == @NUMBER@\n",
        "wrong_answer",
        "runtime_error",
        "output_limit",
    ),
    asserts(
        "patch: a liar before a bare assert",
        LIAR.format(base="") + "def f(n): return Liar()\n",
        "assert f(1) is True\n",
        "wrong_answer",
        "runtime_error",
        "output_limit",
    ),
    asserts(
        "answer: raises what the assert raises",
        "def f(n): raise AssertionError\n",
        "assert f(1) == @NUMBER@\n",
        "runtime_error",
        "wrong_answer",
    ),
    asserts(
        "answer: the test's helper of the same name",
        "def helper(x): return True\ndef f(n): return 0\n",
        "def helper(x):\n    return x == @NUMBER@\ndef check(candidate):\n    assert helper(candidate(1))\n",
    ),
    asserts(
        "answer: the asserts among all objects",
        """
        import gc, re, sys
        def f(n):
            for thing in gc.get_objects():
                if isinstance(thing, (dict, tuple, list)):
                    for item in (thing.values() if isinstance(thing, dict) else thing):
                        found = re.findall(r"assert f\\(1\\) == ([0-9]+)", item) if isinstance(item, str) else None
                        if found:
                            return int(found[0])
            return 0
        """,
        "assert f(1) == @NUMBER@\n",
    ),
)

ATTACKS: tuple[Attack, ...] = PATCHES
