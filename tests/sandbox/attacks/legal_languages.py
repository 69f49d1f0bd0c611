"""Honest programs in C, C++ and JavaScript, which the walls must let pass."""

from textwrap import dedent

from sandbox import Checker, Language, StdioTask, SyntaxTask
from tests.sandbox.attacks.legal import Legal

_MANY = "\n".join(map(str, range(200_000)))
_SUM = str(sum(range(200_000)))


def program(language: Language, name: str, source: str, stdin: str, stdout: str, only: str | None = None) -> Legal:
    """One case of a whole program."""
    return Legal(f"{language}: {name}", StdioTask(language, dedent(source), [(stdin, stdout)]), only)


LANGUAGES: tuple[Legal, ...] = (
    program(
        "c",
        "sum",
        """
        #include <stdio.h>
        int main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d", a + b); }
        """,
        "3 4",
        "7",
    ),
    program(
        "c",
        "mathematics",
        """
        #include <math.h>
        #include <stdio.h>
        int main(void) { double x; scanf("%lf", &x); printf("%.4f", sqrt(x)); }
        """,
        "2",
        "1.4142",
    ),
    program(
        "c",
        "deep recursion",
        """
        #include <stdio.h>
        long f(long n) { volatile char room[100]; room[0] = 1; return n ? f(n - 1) + room[0] : 0; }
        int main(void) { printf("%ld\\n", f(1000000)); }
        """,
        "",
        "1000000",
    ),
    program(
        "c",
        "sixty-four megabytes of table",
        """
        #include <stdio.h>
        static int t[1 << 24];
        int main(void) { for (int i = 0; i < 1 << 24; i++) t[i] = i; printf("%d", t[12345]); }
        """,
        "",
        "12345",
    ),
    program(
        "c",
        "threads",
        """
        #include <pthread.h>
        #include <stdio.h>
        void *work(void *x) { *(int *)x += 1; return x; }
        int main(void) {
          pthread_t t[4]; int n[4] = {0};
          for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, work, &n[i]);
          for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
          printf("%d\\n", n[0] + n[1] + n[2] + n[3]);
        }
        """,
        "",
        "4",
    ),
    program(
        "c",
        "a file of its own",
        """
        #include <stdio.h>
        int main(void) {
          FILE *f = fopen("notes", "w+"); if (!f) return 1;
          fputs("kept", f); rewind(f); char t[9]; fgets(t, 9, f); puts(t);
        }
        """,
        "",
        "kept",
        "namespaces",
    ),
    program("c", "warnings only", "main() { return 0; }", "", ""),
    program(
        "cpp",
        "everything included",
        """
        #include <bits/stdc++.h>
        using namespace std;
        int main() {
          ios::sync_with_stdio(false); cin.tie(nullptr);
          vector<long long> v; long long x; while (cin >> x) v.push_back(x);
          sort(v.rbegin(), v.rend()); map<int, int> m; m[1] = 2;
          try { v.at(1 << 30); } catch (const out_of_range &) { cout << accumulate(v.begin(), v.end(), 0LL) << endl; }
        }
        """,
        _MANY,
        _SUM,
    ),
    Legal("cpp: syntax", SyntaxTask("cpp", "template <class T> T f(T x) { return x; }\nint main() { return f(0); }")),
    Legal(
        "c: a checker",
        StdioTask(
            "c",
            '#include <stdio.h>\nint main(void) { puts("4 3"); }',
            [("7", "3 4")],
            Checker("def check(i, e, a): return sum(map(int, a.split())) == int(i)"),
        ),
    ),
    program(
        "javascript",
        "sum",
        """
        const [a, b] = require("fs").readFileSync(0, "utf8").split(" ").map(Number);
        console.log(a + b);
        """,
        "3 4",
        "7",
    ),
    program(
        "javascript",
        "a path for its input",
        'console.log(require("fs").readFileSync("/dev/stdin", "utf8").trim().length);',
        "word",
        "4",
    ),
    program(
        "javascript",
        "lines",
        """
        let sum = 0;
        require("readline").createInterface({input: process.stdin})
          .on("line", (line) => { sum += Number(line); }).on("close", () => console.log(sum));
        """,
        _MANY,
        _SUM,
    ),
    program(
        "javascript",
        "await over its input",
        """
        (async () => {
          let text = "";
          for await (const part of process.stdin) text += part;
          process.stdout.write(text);
        })();
        """,
        "a\nb\n",
        "a\nb",
    ),
    program(
        "javascript",
        "a main module",
        "if (require.main === module) console.log([3, 1, 2].sort().join(), String(BigInt(2) ** 70n));",
        "",
        "1,2,3 1180591620717411303424",
    ),
    program("javascript", "recursion", "const f = (n) => n ? f(n - 1) + 1 : 0;\nconsole.log(f(100000));", "", "100000"),
    program(
        "javascript",
        "much output",
        'console.log("x".repeat(2000000).length, "y".repeat(1000000));',
        "",
        "2000000 " + "y" * 1_000_000,
    ),
    Legal("javascript: syntax", SyntaxTask("javascript", "#!/usr/bin/env node\nreturn 1;")),
)
