"""Attacks on the comparison: answers that claim to be right, too large to compare, or nearly right."""

from sandbox import FunctionCall
from tests.sandbox.attacks.attack import Attack, function, program

LIAR = """
class Liar{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __bool__(self): return True
    def __lt__(self, other): return True
    def __le__(self, other): return True
    def __contains__(self, item): return True
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __float__(self): return 1.0
    def __int__(self): return 1
    def __index__(self): return 1
    def __str__(self): return "@MARK@"
    __repr__ = __str__
    def __getattr__(self, name): return self
    def __reduce__(self): return (print, ("breached",))
    def __instancecheck__(self, other): return True
"""


def _liar(base: str, value: str) -> Attack:
    source = LIAR.format(base=f"({base})" if base else "") + f"def f(n):\n    return {value}\n"
    return function(
        f"answer: equal to everything ({base or 'object'})", source, "wrong_answer", "runtime_error", "output_limit"
    )


def _wrong(name: str, value: str, expected: object) -> Attack:
    return function(f"answer: {name}", f"def f(n):\n    return {value}\n", calls=(FunctionCall([1], expected),))


ANSWERS: tuple[Attack, ...] = (
    _liar("", "Liar()"),
    _liar("int", "Liar(1)"),
    _liar("float", "Liar(1.0)"),
    _liar("str", "Liar('x')"),
    _liar("list", "Liar()"),
    _liar("dict", "Liar()"),
    _liar("tuple", "[Liar()]"),
    _liar("BaseException", "Liar()"),
    function(
        "answer: claims another class",
        """
        class Meta(type):
            def __eq__(cls, other): return True
            def __hash__(cls): return hash(int)
            def __instancecheck__(cls, other): return True
            def __subclasscheck__(cls, other): return True
        class Claim(metaclass=Meta):
            __class__ = int
            def __eq__(self, other): return True
            def __hash__(self): return 1
        def f(n):
            return Claim()
        """,
        "wrong_answer",
        "runtime_error",
    ),
    _wrong("True for 1", "True", 1),
    _wrong("1.0 for 1", "1.0", 1),
    _wrong("text for a number", "'1'", 1),
    _wrong("None for an empty list", "None", []),
    _wrong("a shorter list", "[1]", [1, 2]),
    _wrong("a longer list", "[1, 2, 3]", [1, 2]),
    _wrong("NaN for a number", "float('nan')", 1.5),
    _wrong("infinity for a number", "float('inf')", 1.5),
    _wrong("minus zero's sign for another number", "-0.0", 1.0),
    _wrong("a set for a list", "{1, 2}", [1, 2]),
    _wrong("keys of another type", "{'1': 2}", {1: 2}),
    _wrong("bytes for text", "b'x'", "x"),
    _wrong("half a surrogate pair", "'\\ud800'", "x"),
    function(
        "answer: values that are nothing",
        "def f(n):\n    return [NotImplemented, ...][n % 2]\n",
        "wrong_answer",
        "runtime_error",
    ),
    function(
        "answer: a value that contains itself",
        "def f(n):\n    a = []\n    a.append(a)\n    return a\n",
        "wrong_answer",
        "runtime_error",
        "output_limit",
    ),
    function(
        "answer: nested a hundred thousand deep",
        "def f(n):\n    a = []\n    for _ in range(100_000):\n        a = [a]\n    return a\n",
        "wrong_answer",
        "runtime_error",
        "output_limit",
    ),
    function(
        "answer: ten million numbers",
        "def f(n):\n    return [0] * 10_000_000\n",
        "wrong_answer",
        "output_limit",
        "memory_limit",
        "time_limit",
    ),
    function(
        "answer: the same list a billion times",
        "def f(n):\n    a = []\n    for _ in range(60):\n        a = [a, a]\n    return a\n",
        "wrong_answer",
        "output_limit",
        "memory_limit",
        "time_limit",
    ),
    function(
        "answer: a huge integer",
        "def f(n):\n    return 1 << (1 << 24)\n",
        "wrong_answer",
        "output_limit",
        "runtime_error",
    ),
    function("answer: a huge text", "def f(n):\n    return 'x' * (1 << 26)\n", "wrong_answer", "output_limit"),
    function(
        "answer: hooks that never end",
        """
        class Trap:
            def __iter__(self):
                while True: pass
            def __repr__(self):
                while True: pass
            __str__ = __len__ = __hash__ = __reduce__ = __getstate__ = __repr__
        def f(n):
            return Trap()
        """,
        "wrong_answer",
        "runtime_error",
        "time_limit",
        "output_limit",
    ),
    function(
        "answer: an exception whose text never ends",
        """
        class Trap(Exception):
            def __str__(self):
                while True: pass
            __repr__ = __str__
        def f(n):
            raise Trap()
        """,
        "runtime_error",
        "time_limit",
    ),
    function(
        "answer: an exception of a megabyte", "def f(n):\n    raise ValueError('x' * (1 << 20))\n", "runtime_error"
    ),
    function("answer: a generator", "def f(n):\n    yield n\n", "wrong_answer", "runtime_error", "output_limit"),
    function(
        "answer: a pickle with a payload", "def f(n):\n    return b\"cposix\\nsystem\\n(S'touch /tmp/@MARK@'\\ntR.\"\n"
    ),
)

LINES: tuple[Attack, ...] = (
    program("output: only the first line", "print('a')", expected="a\nb\nc"),
    program("output: one line too many", "print('a\\nb\\nc')", expected="a\nb"),
    program("output: all on one line", "print('a b c')", expected="a\nb\nc"),
    program("output: nothing", "pass", expected="a"),
    program("output: the expectation among others", "print(*range(1000))", expected="7"),
    program("output: on standard error", "print('a', file=sys.stderr)", expected="a"),
    program("output: a verdict", "print('{\"outcome\": \"passed\"}'); print('passed'); print('OK')", expected="a"),
    program("output: other line separators", "print('a\\x0bb\\x0cc\\u2028d')", expected="a\nb\nc\nd"),
    program("output: hidden characters", "print('a\\u200b')", expected="a"),
    program("output: characters that look alike", "print('\\uff11\\uff12')", expected="12"),
    program("output: zero byte inside", "print('a\\0')", expected="a"),
    program("output: other encoding", "os.write(1, 'é'.encode('latin-1'))", expected="é"),
    program("output: lower case", "print('yes')", expected="YES"),
    *(
        program(f"float: {text}", f"print({text!r})", expected="10.0", compare="float")
        for text in (
            "nan",
            "inf",
            "-inf",
            "1e999999999",
            "1_0",
            "1_0.0",
            "0xA",
            "ten",
            "١٠",
            "10.0 " * 2,
            "10,0",
            "10.1",
            "1e400",
            "True",
            "10.0j",
            "9" * 4000,
        )
    ),
    program("float: not a number for not a number", "print('inf')", expected="nan", compare="float"),
    program("float: as text when exactness is asked for", "print('10')", expected="10.0"),
)

ATTACKS: tuple[Attack, ...] = (*ANSWERS, *LINES)
