"""Attacks in JavaScript: node is a large program with a compiler of its own, and the walls are all that holds it."""

from textwrap import dedent

from sandbox.results import Outcome
from tests.sandbox.attacks.attack import Attack

_PRELUDE = """\
const fs = require("fs");
let told;
const tell = (broken) => { told = told || broken; };
process.on("exit", () => { if (told !== undefined) fs.writeSync(1, told ? "breached" : "held"); });
const watch = (end, event) => end.on("error", () => tell(false)).on(event, () => { tell(true); process.exit(); });
const attempt = (action) => { try { action(); tell(true); } catch (error) { tell(false); } };
"""
_ENDED: tuple[Outcome, ...] = ("wrong_answer", "runtime_error", "memory_limit", "sandbox_violation", "time_limit")


def js(name: str, body: str, *allowed: Outcome, expected: str = "breached", guard: bool = False) -> Attack:
    """A script after the prelude; by default it may only get its answer wrong."""
    outcomes = frozenset(allowed or ("wrong_answer",))
    text = _PRELUDE + dedent(body)
    return Attack(f"js: {name}", "program", text, outcomes, (("", expected),), guard=guard, language="javascript")


ATTACKS: tuple[Attack, ...] = (
    js("a process", 'tell(!require("child_process").spawnSync("/bin/true").error);', guard=True),
    js("a shell", 'attempt(() => require("child_process").execSync("true"));'),
    js("a copy of node", 'watch(require("child_process").fork("/main.js"), "spawn");', *_ENDED),
    js(
        "processes without end",
        """
        const {spawn} = require("child_process");
        for (let i = 0; i < 300; i++) spawn("/bin/sleep", ["20"]).on("error", () => {}).on("spawn", () => tell(true));
        """,
        *_ENDED,
    ),
    js(
        "processes by the engine's own binding",
        """
        attempt(() => {
          const ran = process.binding("spawn_sync").spawn({file: "/bin/true", args: ["true"], stdio: []});
          if (ran.error) throw ran.error;
        });
        """,
        *_ENDED,
    ),
    js("TCP", 'watch(require("net").connect(@PORT@, "127.0.0.1"), "connect");'),
    js("a listener", 'watch(require("net").createServer().listen(0), "listening");'),
    js("HTTP", 'fetch("http://127.0.0.1:@PORT@/").then(() => tell(true), () => tell(false));'),
    js("UDP", 'const s = require("dgram").createSocket("udp4"); watch(s, "listening"); s.bind(0);', *_ENDED),
    js("a unix socket", 'watch(require("net").connect("@SOCKET@"), "connect");'),
    js("an abstract socket", 'watch(require("net").connect("\\0@MARK@"), "connect");', *_ENDED),
    js("the bait file", 'console.log(fs.readFileSync("@FILE@", "utf8"));', "runtime_error", expected="@SECRET@"),
    js(
        "the bait file by a stream", 'fs.createReadStream("@FILE@").pipe(process.stdout);', *_ENDED, expected="@SECRET@"
    ),
    js("the bait file by import", 'import("file://@FILE@").then(() => tell(true), () => tell(false));', *_ENDED),
    js("passwords", 'attempt(() => fs.readFileSync("/etc/passwd"));'),
    js("the service's environment", 'attempt(() => fs.readFileSync("/proc/@SERVICE_PID@/environ"));'),
    js("its own memory", 'attempt(() => fs.openSync("/proc/self/mem", "r+"));'),
    js("homes", 'for (const place of ["/home", "/root"]) attempt(() => fs.readdirSync(place));'),
    js(
        "files outside",
        """
        for (const place of ["/dev/shm/@MARK@", "/var/tmp/@MARK@", "/@MARK@", "/usr/@MARK@"])
          attempt(() => fs.writeFileSync(place, "x"));
        """,
    ),
    js("a heap snapshot outside", 'attempt(() => require("v8").writeHeapSnapshot("/dev/shm/@MARK@"));', *_ENDED),
    js(
        "a report outside",
        """
        process.report.directory = "/dev/shm";
        process.report.writeReport("@MARK@");
        tell(fs.existsSync("/dev/shm/@MARK@"));
        """,
        *_ENDED,
    ),
    js(
        "an inspector",
        'const i = require("inspector"); attempt(() => { i.open(0, "127.0.0.1"); if (!i.url()) throw 0; });',
        *_ENDED,
    ),
    js("a signal to the service", 'attempt(() => process.kill(@SERVICE_PID@, "SIGKILL"));'),
    js("a signal to its parent", 'attempt(() => process.kill(process.ppid, "SIGCONT"));'),
    js("another user", "attempt(() => process.setuid(0));", *_ENDED),
    js(
        "a secret in the environment",
        'for (const value of Object.values(process.env)) if (value.startsWith("secret-")) console.log(value);',
        expected="@SECRET@",
    ),
    js(
        "descriptors of others",
        """
        for (let fd = 3; fd < 64; fd++) {
          let status;
          try { status = fs.fstatSync(fd); } catch (error) { continue; }
          tell(status.isFile() || status.isDirectory() || status.isSocket());
        }
        """,
        *_ENDED,
    ),
    js("memory in buffers", "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 24, 1));", "memory_limit"),
    js(
        "memory in objects",
        "const kept = []; for (let i = 0;; i++) kept.push({i, text: String(i)});",
        "memory_limit",
        "time_limit",
    ),
    js(
        "memory in one array",
        "const all = new Array(1 << 29).fill(1); tell(all.length);",
        "memory_limit",
        "runtime_error",
        "time_limit",
    ),
    js(
        "memory of WebAssembly",
        "const memory = new WebAssembly.Memory({initial: 60000}); new Uint8Array(memory.buffer).fill(1); tell(true);",
        *_ENDED,
    ),
    js(
        "workers without end",
        """
        const {Worker} = require("worker_threads");
        for (let i = 0; i < 300; i++) new Worker("for (;;);", {eval: true}).on("error", () => {});
        """,
        *_ENDED,
    ),
    js("recursion without end", "const f = () => f() + 1; attempt(f);", *_ENDED),
    js("output without end", 'for (;;) fs.writeSync(1, "flood ".repeat(1000));', "output_limit"),
    js("a loop without end", "for (;;);", "time_limit"),
    js("promises without end", "const again = () => { Promise.resolve().then(again); }; again();", "time_limit"),
    js(
        "promises without end, each kept by the next",
        "const again = () => Promise.resolve().then(again); again();",
        "memory_limit",
        "time_limit",
    ),
    js("a wait without end", "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);", "time_limit"),
    js("a timer without end", "setInterval(() => {}, 1000);", "time_limit"),
    js("a regular expression without end", 'tell(/^(a+)+$/.test("a".repeat(60) + "b"));', "time_limit"),
    js("no JavaScript", "let let = (", "compile_error"),
)
