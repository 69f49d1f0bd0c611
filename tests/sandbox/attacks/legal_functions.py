"""Honest functions, and honest answers to the test code of data sets."""

from sandbox import AssertTask, FunctionCall
from tests.sandbox.attacks.legal import Legal, function

FUNCTIONS: tuple[Legal, ...] = (
    function("a function", "def f(a, b=2): return a + b", FunctionCall([1], 3), FunctionCall([1], 6, {"b": 5})),
    function(
        "a class called Solution",
        """
        class Solution:
            def twoSum(self, nums: List[int], target: int) -> Optional[List[int]]:
                seen = {}
                for i, n in enumerate(nums):
                    if target - n in seen:
                        return [seen[target - n], i]
                    seen[n] = i
        """.replace("        class", "        from typing import *\n        class", 1),
        FunctionCall([[2, 7, 11, 15], 9], [0, 1]),
        FunctionCall([[3, 3], 6], [0, 1]),
        entry_point="Solution.twoSum",
    ),
    function(
        "prints while it works",
        "def f(n):\n    print('noise', n)\n    return n\n",
        FunctionCall([1], 1),
        FunctionCall([2], 2),
    ),
    function(
        "reads standard input, which is empty",
        "import sys\ndef f(n):\n    return sys.stdin.read()\n",
        FunctionCall([1], ""),
    ),
    function(
        "changes its argument",
        "def f(a):\n    a.append(1)\n    return a\n",
        FunctionCall([[]], [1]),
        FunctionCall([[]], [1]),
    ),
    function("a tuple for a list", "def f(n):\n    return 1, (2, 3)\n", FunctionCall([0], [1, [2, 3]])),
    function(
        "remembers between calls",
        "seen = []\ndef f(n):\n    seen.append(n)\n    return n\n",
        *(FunctionCall([n], n) for n in range(50)),
    ),
    function(
        "sets, bytes, None, nested",
        "def f(n):\n    return {'a': {1, 2}, 'b': b'x', 'c': None, 'd': [True, 1.5]}\n",
        FunctionCall([0], {"a": {1, 2}, "b": b"x", "c": None, "d": [True, 1.5]}),
    ),
    function(
        "any order",
        "def f(n):\n    return {3, 1, 2} and [3, 1, 2]\n",
        FunctionCall([0], [1, 2, 3]),
        compare="unordered",
    ),
    function(
        "nearly the same number",
        "def f(n):\n    return [0.1 + 0.2, 1]\n",
        FunctionCall([0], [0.3, 1.0]),
        compare="float",
    ),
    function("not a number, on purpose", "def f(n):\n    return float('nan')\n", FunctionCall([0], float("nan"))),
    function(
        "subclasses of the built-in types",
        """
        from collections import Counter, OrderedDict, defaultdict, namedtuple
        from enum import IntEnum
        P = namedtuple("P", "x y")
        def f(n):
            d = defaultdict(list); d["a"].append(1)
            return [d, Counter("aab"), P(1, 2)]
        """,
        FunctionCall([0], [{"a": [1]}, {"a": 2, "b": 1}, [1, 2]]),
    ),
    function("integers of four thousand digits", "def f(n):\n    return 7 ** n\n", FunctionCall([5000], 7**5000)),
    function(
        "main guard and a main program",
        """
        def f(n):
            return n * 2
        if __name__ == "__main__":
            print(f(int(input())))
        """,
        FunctionCall([4], 8),
    ),
)

ASSERTS: tuple[Legal, ...] = (
    Legal(
        "lines of asserts",
        AssertTask(
            "def f(a, b):\n    return a + b\n",
            "assert f(1, 2) == 3\nassert f('a', 'b') == 'ab'\nassert f(1, 2) != 4\n",
            "f",
        ),
    ),
    Legal(
        "floats within asserts",
        AssertTask(
            "def f(x):\n    return x / 3\n",
            "import math\nassert math.isclose(f(1), 1/3)\nassert abs(f(2) - 0.6666) < 1e-3\n",
            "f",
        ),
    ),
    Legal(
        "a check of the data set",
        AssertTask(
            "def f(xs):\n    if not xs:\n        raise ValueError('empty')\n    return max(xs), min(xs)\n",
            "METADATA = {}\ndef check(candidate):\n    assert candidate([1, 2]) == (2, 1)\n    for i in range(20):\n"
            "        assert candidate([i, -i])[0] == i\n    try:\n        candidate([])\n        assert False\n"
            "    except ValueError:\n        pass\ncheck(f)\n",
            "f",
        ),
    ),
    Legal(
        "helpers of the data set",
        AssertTask(
            "def f(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n",
            "def check(candidate):\n    assert candidate([1, 2], 3) == poly([1, 2], 3)\n",
            "f",
            setup_source="def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n",
        ),
    ),
)
