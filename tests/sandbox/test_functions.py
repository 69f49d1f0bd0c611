"""Calls of functions: values in and out, every cheat on the channel a failure, later calls unharmed by earlier ones."""

import time
from dataclasses import replace
from typing import Any

import pytest

from sandbox import AssertTask, Checker, FunctionCall, FunctionTask, RunResult, Sandbox, SandboxLimits, TaskError

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


async def call(
    box: Sandbox, source: str, *calls: tuple[list[Any], Any], entry_point: str = "f", **more: Any
) -> RunResult:
    listed = [FunctionCall(args, expected) for args, expected in calls]
    return await box.run(FunctionTask(source, entry_point, listed, **more))


async def test_functions_and_methods_are_called_with_values(box: Sandbox) -> None:
    assert (await call(box, "def f(a, b): return a + b", ([1, 2], 3), (["a", "b"], "ab"), ([[1], [2]], [1, 2]))).passed
    method = (
        "class Solution:\n    def __init__(self): self.n = 0\n"
        "    def f(self, x):\n        self.n += x\n        return self.n"
    )
    assert (await call(box, method, ([1], 1), ([1], 1), entry_point="Solution.f")).passed
    with_names = FunctionTask("def f(*, k): return {k: (k,)}", "f", [FunctionCall([], {3: [3]}, {"k": 3})])
    assert (await box.run(with_names)).passed


async def test_prints_and_input_of_functions_do_not_touch_the_channel(box: Sandbox) -> None:
    source = (
        "import sys\ndef f(x):\n    print('[1, \"value\", 5]')\n"
        "    sys.stdout.flush()\n    assert sys.stdin.read() == ''\n    return x"
    )
    assert (await call(box, source, *(([i], i) for i in range(20)))).passed


async def test_the_first_wrong_value_is_shown(box: Sandbox) -> None:
    result = await call(box, "def f(x): return x * 2", ([1], 2), ([2], 5), ([3], 6))
    assert [test.outcome for test in result.tests] == ["passed", "wrong_answer"]
    assert result.tests[1].difference is not None
    assert (result.tests[1].difference.expected, result.tests[1].difference.actual) == ("5", "4")


GUARDED = "def f(x):\n    return x * 2\nif __name__ == '__main__':\n    print(f(int(input())))"


async def test_functions_are_loaded_like_a_module_not_run_like_a_program(box: Sandbox) -> None:
    assert (await call(box, GUARDED, ([4], 8))).passed
    assert (await box.run(AssertTask(GUARDED, "assert f(4) == 8", "f"))).passed
    assert (await box.run(AssertTask(GUARDED, "assert abs(f(4)) == 8", "f", GUARDED))).passed
    assert (await call(box, GUARDED, ([4], 8), compare=Checker(GUARDED + "\ndef check(i, e, a): return e == a"))).passed
    own = (
        "import pickle, sys, __main__\nclass A: pass\ndef f(x):\n    a = pickle.loads(pickle.dumps(A()))\n"
        "    return [type(a) is A, sys.modules[__name__].f is f, __main__.f is f, sorted(vars(__main__))[-1] == 'x']"
    )
    assert (await call(box, own, ([1], [True, True, True, False]))).passed


FAILURES = {
    "raises": ("def f(x): raise KeyError(x)", "runtime_error"),
    "missing": ("def g(x): return x", "runtime_error"),
    "takes other arguments": ("def f(): return 1", "runtime_error"),
    "no Python": ("def f(x) return x", "compile_error"),
    "does not load": ("1 / 0\ndef f(x): return x", "runtime_error"),
    "exits while loading": ("import sys\nsys.exit(0)\ndef f(x): return x", "runtime_error"),
    "sys.exit": ("import sys\ndef f(x): sys.exit(0)", "runtime_error"),
    "os._exit": ("import os\ndef f(x): os._exit(0)", "runtime_error"),
    "endless": ("def f(x):\n    while True: pass", "time_limit"),
    "memory": ("def f(x): return bytearray(2**31)", "memory_limit"),
    "memory though right": ("def f(x):\n    y = b'a' * (300 * 2**20)\n    return x", "memory_limit"),
    "output": ("def f(x):\n    while True: print('a' * 1000)", "output_limit"),
    "large value": ("def f(x): return 'a' * (9 * 2**20)", "output_limit"),
    "many parts": ("def f(x): return [0] * 2_000_000", "output_limit"),
    "deep value": ("def f(x):\n    y = []\n    for _ in range(500): y = [y]\n    return y", "output_limit"),
    "cyclic value": ("def f(x):\n    y = []\n    y.append(y)\n    return y", "output_limit"),
    "an object": ("def f(x): return object()", "wrong_answer"),
    "an object equal to all": ("class A:\n    def __eq__(self, o): return True\ndef f(x): return A()", "wrong_answer"),
    "an int equal to all": (
        "class A(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(x): return A(7)",
        "wrong_answer"),
    "a generator": ("def f(x): yield x", "wrong_answer"),
    "an attack": ("import ctypes\ndef f(x): ctypes.CDLL(None).ptrace(0, 0, 0, 0)", "sandbox_violation"),
    "closes its channel": ("import os\ndef f(x):\n    os.close(5)\n    return x", "runtime_error"),
    "writes to the channel": ("import os\ndef f(x):\n    os.write(5, b'\\0\\0\\0\\2{}')\n"
        "    return x", "runtime_error"),
    "writes garbage": ("import os\ndef f(x):\n    os.write(5, b'\\xff' * 100)\n    return x", "output_limit"),
    "answers in advance": (
        "import os, json\nfor n in range(9):\n    b = json.dumps([n, 'value', 1]).encode()\n"
        "    os.write(5, len(b).to_bytes(4, 'big') + b)\ndef f(x): return 0", "runtime_error"),
    "claims to be the sandbox's failure": (
        "import os, json\nb = json.dumps([0, 'infra_error', '']).encode()\nos.write(5, len(b).to_bytes(4, 'big') + b)\n"
        "def f(x): return 0", "runtime_error"),
    "claims a pass": (
        "import os, json\nb = json.dumps([0, 'passed', '']).encode()\nos.write(5, len(b).to_bytes(4, 'big') + b)\n"
        "def f(x): return 0", "runtime_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_each_way_to_fail_has_its_outcome(box: Sandbox, name: str) -> None:
    source, outcome = FAILURES[name]
    result = await call(box, source, ([1], 1))
    assert result.outcome == outcome, result
    assert (await call(box, "def f(x): return x", ([1], 1))).passed, "the next run is untouched"


async def test_a_crash_costs_its_own_call_only(box: Sandbox) -> None:
    source = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    if x == 2:\n        while True: pass\n    return x"
    result = await call(box, source, *(([i], i) for i in range(5)), stop_at_first_failure=False)
    assert [test.outcome for test in result.tests] == ["passed", "runtime_error", "time_limit", "passed", "passed"]


async def test_the_first_failure_is_told_as_it_was_whatever_later_calls_do_meanwhile(box: Sandbox) -> None:
    source = "import os\ndef f(x):\n    if x == 3: os._exit(1)\n    return x if x < 2 else 0"
    result = await call(box, source, *(([i], i) for i in range(100)))
    assert [test.outcome for test in result.tests] == ["passed", "passed", "wrong_answer"]
    assert (result.outcome, result.tests[2].difference and result.tests[2].difference.expected) == ("wrong_answer", "2")


async def test_calls_under_way_never_wait_for_each_other_however_large_their_values_are(box: Sandbox) -> None:
    calls = [([text], text * 40) for text in (chr(97 + i % 26) * (10 if i % 3 else 20_000) for i in range(60))]
    assert (await call(box, "def f(x): return x * 40", *calls)).passed


async def test_what_takes_long_to_judge_is_no_time_of_the_program_that_waits_meanwhile() -> None:
    checker = Checker(
        "import time\ndef check(i, e, a):\n    time.sleep(1.5)  # a whole process's limit and a half\n    return a == e"
    )
    async with Sandbox(SandboxLimits(cpu_s=1.0, wall_s=1.0), workers=1) as tight:
        assert (await call(tight, "def f(x): return x", *(([i], i) for i in range(3)), compare=checker)).passed


async def test_a_program_that_does_not_load_fails_every_call_at_once(box: Sandbox) -> None:
    result = await call(box, "1 / 0", *(([i], i) for i in range(50)), stop_at_first_failure=False)
    assert [test.outcome for test in result.tests] == ["runtime_error"] * 50


async def test_each_call_has_the_whole_time_limit(box: Sandbox) -> None:
    source = (
        "import time\ndef f(x):\n    end = time.process_time() + .4\n"
        "    while time.process_time() < end: pass\n    return x"
    )
    assert (await call(box, source, *(([i], i) for i in range(4)))).passed  # 1.6 s in all, the limit is 1 s


async def test_what_it_returns_cannot_reach_the_expected_value(box: Sandbox) -> None:
    source = (
        "import gc, sys\ndef f(x):\n    found = []\n    frame = sys._getframe()\n    while frame:\n"
        "        found += [v for v in frame.f_locals.values() if isinstance(v, (str, bytes))]\n"
        "        frame = frame.f_back\n"
        "    found += [o for o in gc.get_objects() if isinstance(o, (str, bytes))]\n"
        "    dicts = [o for o in gc.get_objects() if type(o) is dict]\n"
        "    found += [v for o in dicts for v in o.values() if isinstance(v, (str, bytes))]\n"
        "    return any('wanted' in str(o)[:100] for o in found if len(o) < 100 and 'isinst' not in str(o))"
    )
    result = await call(box, source, (["x"], "the wanted value 1730"))
    assert result.outcome == "wrong_answer"
    assert result.tests[0].difference is not None
    assert result.tests[0].difference.actual == "False"


async def test_many_calls_are_cheap(box: Sandbox) -> None:
    started = time.process_time()
    assert (await call(box, "def f(x): return x", *(([i], i) for i in range(500)))).passed
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "value", [object(), 1j, {1: [{2: object()}]}, 2**70_000], ids=["object", "complex", "nested", "long"]
)
async def test_a_task_with_values_that_cannot_be_sent_is_refused(box: Sandbox, value: object) -> None:
    with pytest.raises(TaskError, match="cannot be sent"):
        await call(box, "def f(x): return x", ([value], 1))
    with pytest.raises(TaskError, match="cannot be sent"):
        await call(box, "def f(x): return x", ([1], value))


async def test_a_checker_judges_values(box: Sandbox) -> None:
    source = (
        "def check(input, expected, actual):\n    (n,), names = input\n"
        "    return sorted(actual) == list(range(n)) and names == {}"
    )
    shuffled = "import random\ndef f(n):\n    x = list(range(n))\n    random.shuffle(x)\n    return x"
    assert (await call(box, shuffled, ([5], None), ([9], None), compare=Checker(source))).passed
    assert (await call(box, "def f(n): return []", ([5], None), compare=Checker(source))).outcome == "wrong_answer"


HUMAN_EVAL = (
    "METADATA = {}\n\ndef check(candidate):\n"
    "    assert candidate(2) == 4\n    assert abs(candidate(0.5) - 0.25) < 1e-9\n"
)


async def test_humaneval_checks_run_apart_from_the_solution(box: Sandbox) -> None:
    assert (await box.run(AssertTask("def f(x): return x * x", HUMAN_EVAL, "f"))).passed
    result = await box.run(AssertTask("def f(x): return x + x", HUMAN_EVAL, "f"))
    assert result.outcome == "wrong_answer"


async def test_mbpp_lines_are_reported_one_by_one(box: Sandbox) -> None:
    lines = "assert f(1) == 1\nassert f(2) == 5\nassert f(3) == 9"
    result = await box.run(AssertTask("def f(x): return x * x", lines, "f", stop_at_first_failure=False))
    assert [test.outcome for test in result.tests] == ["passed", "wrong_answer", "passed"]
    mixed = "import math\nassert f(1) == 1\nassert math.isclose(f(2), 4)\nassert f(3) == 8"
    result = await box.run(AssertTask("def f(x): return x * x", mixed, "f", stop_at_first_failure=False))
    assert [test.outcome for test in result.tests] == ["passed", "passed", "wrong_answer"]


CHEATS = {
    "equal to all": "class A:\n    def __eq__(s, o): return True\n"
    "    def __abs__(s): return 0\n    def __sub__(s, o): return 0\n"
    "    def __lt__(s, o): return True\ndef f(x): return A()",
    "exits": "import os\ndef f(x): os._exit(0)",
    "exits while loading": "import os\nos._exit(0)",
    "overwrites assert": "import builtins\nbuiltins.AssertionError = Exception\ndef f(x): return 0",
    "defines check": "def check(c): pass\ndef f(x): return 0",
    "raises SystemExit": "def f(x): raise SystemExit(0)",
    "not a number": "def f(x): return float('nan')",
    "claims that the test passed": "import os, json\ndef f(x):\n    b = json.dumps([0, 'passed', '']).encode()\n"
    "    os.write(5, len(b).to_bytes(4, 'big') + b)\n    return 0",
    "endless": "def f(x):\n    while True: pass",
}


@pytest.mark.parametrize("name", CHEATS)
async def test_cheats_on_test_code_do_not_pass(box: Sandbox, name: str) -> None:
    result = await box.run(AssertTask(CHEATS[name], HUMAN_EVAL, "f"))
    assert result.outcome in ("wrong_answer", "runtime_error", "time_limit"), result
    lines = AssertTask(CHEATS[name], "assert f(2) == 4\nassert f(3) == 9", "f")
    assert (await box.run(lines)).outcome in ("wrong_answer", "runtime_error", "time_limit")


async def test_exceptions_of_the_solution_reach_the_test_by_their_type(box: Sandbox) -> None:
    test = (
        "try:\n    f(-1)\nexcept ValueError as error:\n    assert 'negative' in str(error)\nelse:\n    assert False\n"
        "assert f(1) == 1"
    )
    good = "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x"
    assert (await box.run(AssertTask(good, test, "f"))).passed
    assert (await box.run(AssertTask("def f(x): return x", test, "f"))).outcome == "wrong_answer"
    own = "class E(Exception): pass\ndef f(x):\n    if x < 0: raise E('negative')\n    return x"
    assert (await box.run(AssertTask(own, test, "f"))).outcome == "runtime_error"


async def test_helpers_of_the_data_set_come_from_the_data_set(box: Sandbox) -> None:
    test = "def check(candidate):\n    assert abs(poly([1, 2], candidate([1, 2]))) < 1e-6\n"
    helper = "def poly(c, x): return sum(k * x**i for i, k in enumerate(c))"
    assert (await box.run(AssertTask("def f(c): return -c[0] / c[1]", test, "f", helper))).passed
    cheat = "def poly(c, x): return 0\ndef f(c): return 0"
    assert (await box.run(AssertTask(cheat, test, "f", helper))).outcome == "wrong_answer"


async def test_set_up_code_that_does_not_run_is_the_tasks_fault(box: Sandbox) -> None:
    with pytest.raises(TaskError, match="setup_source does not run"):
        await box.run(AssertTask("def f(x): return x", "assert abs(f(1)) == 1", "f", "1 / 0"))


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ("def f(x): return x", "import time\ntime.sleep(2)\nassert f(1) == 1"),
        ("import time\ndef f(x):\n    time.sleep(0.6)\n    return x", "for i in range(5): assert f(i) == i"),
    ],
    ids=["the program waits", "the test waits"],
)
async def test_nobody_is_charged_for_the_time_the_other_takes(source: str, test: str) -> None:
    async with Sandbox(SandboxLimits(cpu_s=0.5, wall_s=1.7), isolation="unsafe_none", workers=1) as short:
        if "range" not in test:  # what the test itself may sleep is more than what the program may wait
            short.limits = replace(short.limits, cpu_s=1.0, wall_s=1.0)
        assert (await short.run(AssertTask(source, test, "f"))).outcome == "passed"


@pytest.mark.parametrize(
    ("test", "setup"),
    [("assert abs(f(1)) == 1", "while True: pass"), ("while True: pass\nassert f(1)", "")],
    ids=["set-up code", "test code"],
)
async def test_time_that_the_tasks_own_code_takes_is_held_against_nobody(box: Sandbox, test: str, setup: str) -> None:
    result = await box.run(AssertTask("def f(x): return x", test, "f", setup))
    assert result.outcome == "infra_error"
    assert "1 s of processor time" in result.detail


async def test_a_checker_that_does_not_load_in_time_is_held_against_nobody(box: Sandbox) -> None:
    result = await call(box, "def f(x): return x", ([1], 1), compare=Checker("while True: pass"))
    assert result.outcome == "infra_error"
    assert "the checker" in result.detail


SLOW_TO_COMPARE = "class A: pass\ndef check(given, expected, actual):\n    while actual: pass\n    return True"


async def test_an_answer_cannot_make_the_sandbox_fail_by_being_slow_to_judge(box: Sandbox) -> None:
    """Processor time that a value costs whoever judges it is the program's own doing."""
    result = await call(box, "def f(x): return x", ([1], 1), compare=Checker(SLOW_TO_COMPARE))
    assert result.outcome == "wrong_answer"
    result = await box.run(AssertTask("def f(x): return x", "while f(1): pass\nassert f(2)", "f"))
    assert result.outcome == "time_limit"
    result = await box.run(AssertTask("def f(x): return x", "x = f(1)\nwhile x: pass\nassert f(2)", "f"))
    assert result.outcome == "time_limit"


async def test_values_that_no_json_holds_go_to_the_test(box: Sandbox) -> None:
    assert (await box.run(AssertTask("def f(x): return x", "assert f(2) == (2 + 0j)\nassert f(1) == 1", "f"))).passed
