"""Honest programs with unusual habits, all of which must pass: walls that stop these would punish good answers."""

from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from sandbox import FunctionCall, FunctionTask, StdioTask, Task


@dataclass(frozen=True, slots=True)
class Legal:
    """`only`: the one tier that can hold it."""

    id: str
    task: Task
    only: str | None = None


def program(name: str, source: str, stdin: str, stdout: str, only: str | None = None, **options: Any) -> Legal:
    """One case of a whole program."""
    return Legal(name, StdioTask("python", dedent(source), [(stdin, stdout)], **options), only)


def function(name: str, source: str, *calls: FunctionCall, entry_point: str = "f", compare: Any = "exact") -> Legal:
    """Calls of one function or method."""
    return Legal(name, FunctionTask(dedent(source), entry_point, calls, compare))


_MILLION = "\n".join(map(str, range(1_000_000)))

READ_AND_WRITE: tuple[Legal, ...] = (
    program("input and print", "a, b = map(int, input().split())\nprint(a + b)", "3 4\n", "7\n"),
    program("no newline at the end of the input", "print(int(input()) + int(input()))", "3\n4", "7"),
    program(
        "reads until the end of the file",
        """
        total = 0
        while True:
            try:
                total += int(input())
            except EOFError:
                break
        print(total)
        """,
        "1\n2\n3\n",
        "6\n",
    ),
    program("standard input as a loop", "import sys\nprint(sum(int(x) for x in sys.stdin))", "1\n2\n3\n", "6\n"),
    program(
        "input after everything is read",
        """
        import sys
        text = sys.stdin.read()
        try:
            input()
        except EOFError:
            print(text.strip())
        """,
        "done\n",
        "done",
    ),
    program(
        "readline of the buffer, and input rebound",
        """
        import sys
        input = sys.stdin.buffer.readline
        n = int(input())
        print(sum(int(input()) for _ in range(n)))
        """,
        "3\n1\n2\n3\n",
        "6\n",
    ),
    program(
        "a million lines at once",
        """
        import sys
        numbers = sys.stdin.buffer.read().split()
        print(len(numbers), sum(map(int, numbers)))
        """,
        _MILLION,
        "1000000 499999500000\n",
    ),
    program("a million lines by open(0)", "print(sum(map(int, open(0))))", _MILLION, "499999500000"),
    program("os.read and os.write", "import os\nos.write(1, os.read(0, 100).upper())", "abc\n", "ABC\n"),
    program("bytes to the buffer", "import sys\nsys.stdout.buffer.write('é ✓\\n'.encode())", "", "é ✓\n"),
    program("unicode both ways", "print(input()[::-1])", "añ日本🙂\n", "🙂本日ña\n"),
    program(
        "printing to a buffer first",
        """
        import io, sys
        from contextlib import redirect_stdout
        out = io.StringIO()
        with redirect_stdout(out):
            print("hello")
        sys.stdout.write(out.getvalue())
        """,
        "",
        "hello",
    ),
    program(
        "spaces at the end and empty lines after", "print('1 2 3 ')\nprint('4\\t')\nprint()\nprint()", "", "1 2 3\n4\n"
    ),
    program("line ends of another system", "import sys\nsys.stdout.write('a\\r\\nb\\r\\n')", "", "a\nb\n"),
    program("flushing each line", "for i in range(200): print(i, flush=True)", "", "\n".join(map(str, range(200)))),
    program("two megabytes of output", "print('\\n'.join(['x' * 99] * 20_000))", "", "\n".join(["x" * 99] * 20_000)),
    program(
        "warnings and traces on standard error",
        """
        import sys, traceback, warnings
        warnings.warn("noise")
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
        print("x" * 100_000, file=sys.stderr)
        print("fine")
        """,
        "",
        "fine",
    ),
    *(
        program(f"ends by {end}", f"print('fine')\n{end}\nprint('never')", "", "fine")
        for end in (
            "exit()",
            "quit()",
            "import sys; sys.exit()",
            "import sys; sys.exit(0)",
            "raise SystemExit",
            "import os, sys; sys.stdout.flush(); os._exit(0)",
        )
    ),
    program(
        "main guard",
        """
        def main():
            print("fine")
        if __name__ == "__main__":
            main()
        """,
        "",
        "fine",
    ),
)
