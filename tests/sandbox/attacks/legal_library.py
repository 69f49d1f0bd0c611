"""Honest programs that use what Python has: recursion, threads, time, the standard library."""

import math
import os
import zlib

from tests.sandbox.attacks.legal import Legal, program

LIBRARY: tuple[Legal, ...] = (
    program(
        "recursion with a raised limit",
        """
        import sys
        sys.setrecursionlimit(10**6)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        print(depth(50_000))
        """,
        "",
        "50000",
    ),
    program(
        "recursion in a thread with a large stack",
        """
        import sys, threading
        sys.setrecursionlimit(10**7)
        threading.stack_size(512 * 1024 * 1024)
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        thread = threading.Thread(target=lambda: print(depth(100_000)))
        thread.start()
        thread.join()
        """,
        "",
        "100000",
    ),
    program(
        "recursion through lru_cache",
        """
        import sys
        from functools import lru_cache
        sys.setrecursionlimit(10**6)
        @lru_cache(maxsize=None)
        def f(n):
            return n if n < 2 else (f(n - 1) + f(n - 2)) % 1_000_007
        print(f(20_000))
        """,
        "",
        "32559",
    ),
    program(
        "threads with a queue",
        """
        import queue, threading
        todo, done = queue.Queue(), queue.Queue()
        def work():
            while (n := todo.get()) is not None:
                done.put(n * n)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads: t.start()
        for n in range(100): todo.put(n)
        for _ in threads: todo.put(None)
        for t in threads: t.join()
        print(sum(done.get() for _ in range(100)))
        """,
        "",
        "328350",
    ),
    program(
        "a pool of threads",
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            print(*pool.map(lambda n: n * n, range(5)))
        """,
        "",
        "0 1 4 9 16",
    ),
    program(
        "asyncio",
        """
        import asyncio
        async def square(n):
            await asyncio.sleep(0.001)
            return n * n
        async def main():
            print(sum(await asyncio.gather(*map(square, range(10)))))
        asyncio.run(main())
        """,
        "",
        "285",
    ),
    program(
        "an alarm with a handler",
        """
        import signal
        class Late(Exception): pass
        def ring(*_): raise Late
        signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while True: pass
        except Late:
            print("rang")
        """,
        "",
        "rang",
    ),
    program(
        "sleeps a little",
        "import time\nt = time.monotonic()\ntime.sleep(0.05)\nprint(time.monotonic() - t >= 0.05)",
        "",
        "True",
    ),
    program(
        "clocks",
        """
        import time, datetime
        print(time.time() > 1.6e9, time.perf_counter() >= 0, time.process_time() < 10, datetime.date.today().year > 1)
        """,
        "",
        "True True True True",
    ),
    program(
        "random with a seed, and without",
        """
        import os, random, secrets
        random.seed(7)
        first = [random.randint(0, 99) for _ in range(5)]
        random.seed(7)
        print(first == [random.randint(0, 99) for _ in range(5)], len(os.urandom(8)), len(secrets.token_bytes(4)))
        """,
        "",
        "True 8 4",
    ),
    program(
        "heaps, bisection, permutations",
        """
        from bisect import insort
        from heapq import heapify, heappop, heappushpop, nlargest
        from itertools import accumulate, combinations, groupby, permutations, product
        h = [5, 1, 4]; heapify(h)
        s = []
        for x in (3, 1, 2): insort(s, x)
        print(heappop(h), heappushpop(h, 0), nlargest(1, h), s, sum(1 for _ in permutations(range(6))),
              list(accumulate(s)), len(list(product("ab", repeat=5))), [k for k, _ in groupby("aab")])
        """,
        "",
        "1 0 [5] [1, 2, 3] 720 [1, 3, 6] 32 ['a', 'b']",
    ),
    program(
        "decimals, fractions, statistics",
        """
        from decimal import Decimal, getcontext
        from fractions import Fraction
        from statistics import mean, median
        getcontext().prec = 40
        print(Decimal(1) / 7, Fraction(1, 3) + Fraction(1, 6), mean([1, 2, 3]), median([3, 1, 2]))
        """,
        "",
        "0.1428571428571428571428571428571428571429 1/2 2 2",
    ),
    program(
        "large integers",
        "import math\nprint(len(str(3 ** 8000)), math.comb(1000, 500) % 997, pow(3, 10**18, 10**9 + 7))",
        "",
        f"3817 {math.comb(1000, 500) % 997} {pow(3, 10**18, 10**9 + 7)}",
    ),
    program(
        "classes of data, enumerations, types",
        """
        from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
        from dataclasses import dataclass, field
        from enum import Enum, auto
        from typing import Dict, Generic, List, Optional, TypeVar
        T = TypeVar("T")
        class Colour(Enum):
            RED = auto()
        @dataclass(order=True)
        class Item(Generic[T]):
            key: int
            tags: List[str] = field(default_factory=list)
        print(sorted([Item(2), Item(1)])[0], Colour.RED.name, Counter("aab").most_common(1), deque([1, 2], maxlen=1))
        """,
        "",
        "Item(key=1, tags=[]) RED [('a', 2)] deque([2], maxlen=1)",
    ),
    program(
        "text tools",
        """
        import base64, hashlib, json, re, string, zlib
        print(re.sub(r"(\\w+) (\\w+)", r"\\2 \\1", "a b"))
        print(hashlib.sha256(b"x").hexdigest()[:8], json.dumps({"a": [1, None]}),
              base64.b64encode(b"hi").decode(), zlib.crc32(b"x"), string.ascii_lowercase[:3])
        """,
        "",
        f'b a\n2d711642 {{"a": [1, null]}} aGk= {zlib.crc32(b"x")} abc',
    ),
    program(
        "generators and context managers",
        """
        from contextlib import contextmanager, suppress
        @contextmanager
        def bracket():
            print("[", end="")
            yield
            print("]")
        def count():
            n = yield 1
            yield n
        with bracket(), suppress(KeyError):
            g = count(); next(g); print(g.send(5), end=""); {}["x"]
        """,
        "",
        "[5]",
    ),
    program(
        "exec, eval, compile, ast",
        """
        import ast, operator
        scope = {}
        exec(compile("def g(x): return x * 2", "g", "exec"), scope)
        print(scope["g"](4), eval("1+1"), ast.literal_eval("[1, 2]"))
        """,
        "",
        "8 2 [1, 2]",
    ),
    program(
        "arrays and structs",
        """
        import array, struct
        a = array.array("q", range(5))
        print(sum(memoryview(a)), struct.unpack("<I", b"\\1\\0\\0\\0")[0])
        """,
        "",
        "10 1",
    ),
    program("a hundred megabytes for a while", "a = bytearray(b'x') * (100 << 20)\nprint(len(a))", "", str(100 << 20)),
    program(
        "memory error caught", "try:\n    x = 'x' * (1 << 44)\nexcept MemoryError:\n    print('caught')", "", "caught"
    ),
    program("floats within tolerance", "print(0.1 + 0.2, 1e-9, 2)", "", "0.3 0 2.0000001", compare="float"),
    program(
        "questions about the platform",
        """
        import gc, os, platform, sys
        gc.collect(); gc.disable()
        print(sys.version_info[:2] == (3, 11), os.getpid() > 0, bool(os.getcwd()), platform.system(), os.cpu_count())
        """,
        "",
        f"True True True Linux {os.cpu_count()}",
    ),
    program(
        "standard output replaced at once",
        """
        import io, sys
        sys.stdout = io.TextIOWrapper(open(1, "wb", buffering=0, closefd=False), write_through=True)
        print("fine")
        """,
        "",
        "fine",
    ),
    program(
        "fast input of the contest kind",
        """
        import os, sys
        from io import BytesIO, IOBase
        buffer = BytesIO(os.read(0, os.fstat(0).st_size or 1 << 20))
        print(sum(map(int, buffer.readline().split())))
        """,
        "1 2 3\n",
        "6",
    ),
    program(
        "mapped memory and a pipe of its own",
        """
        import mmap, os
        m = mmap.mmap(-1, 4096); m[:2] = b"ok"
        r, w = os.pipe(); os.write(w, bytes(m[:2])); print(os.read(r, 2).decode())
        """,
        "",
        "ok",
    ),
    program(
        "a temporary file",
        """
        import tempfile
        with tempfile.TemporaryFile("w+") as file:
            file.write("kept"); file.seek(0); print(file.read())
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/a", "w") as file:
            file.write("x")
        with open("here.txt", "w") as file:
            file.write("y")
        print(open("here.txt").read())
        """,
        "",
        "kept\ny",
        only="namespaces",
    ),
    program(
        "asks for files that are not there",
        """
        import os, sys
        try:
            sys.stdin = open("input.txt")
        except OSError:
            pass
        print(os.path.exists("input.txt"), input())
        """,
        "x\n",
        "False x",
    ),
)
