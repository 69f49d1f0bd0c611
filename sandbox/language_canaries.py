"""Attacks on the walls of C, C++ and JavaScript from inside, run before the first program of each language.

Each canary tries what its walls must refuse and prints what got through; the last word shows that it came to its end.
"""

from sandbox.results import TestResult
from sandbox.tasks import Language

_DONE = "done"

_C = """
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static void tell(int got, const char *what) { if (got >= 0) puts(what); }
int main(void) {
  int pid = fork();
  if (pid == 0) _exit(0);
  tell(pid, "fork");
  tell(socket(AF_INET, SOCK_STREAM, 0), "a socket");
  tell(open("/etc/passwd", O_RDONLY), "reading /etc/passwd");
  tell(open("/proc/self/environ", O_RDONLY), "reading /proc/self/environ");
  tell(open("/home", O_RDONLY | O_DIRECTORY), "listing /home");
  tell(open("/dev/shm/rayzero-canary", O_CREAT | O_WRONLY, 0600), "writing to /dev/shm");
  tell(kill(getppid(), 0), "a signal to the parent");
  fflush(stdout);
  char *const none[] = {0};
  execve("/bin/true", none, none);
  puts("done");
}
"""
_JAVASCRIPT = """
const fs = require("fs");
const attempt = (what, action) => { try { action(); console.log(what); } catch (error) {} };
attempt("a process", () => {
  const ran = require("child_process").spawnSync("/bin/true");
  if (ran.error) throw ran.error;
});
attempt("reading /etc/passwd", () => fs.readFileSync("/etc/passwd"));
attempt("reading /proc/self/environ", () => fs.readFileSync("/proc/self/environ"));
attempt("listing /home", () => fs.readdirSync("/home"));
attempt("writing to /dev/shm", () => fs.writeFileSync("/dev/shm/rayzero-canary", ""));
attempt("a signal to the parent", () => process.kill(process.ppid, 0));
const server = require("net").createServer();
server.on("error", () => console.log("done"));
server.listen(0, () => { console.log("a socket"); process.exit(); });
"""
CANARIES: dict[Language, str] = {"c": _C, "cpp": _C, "javascript": _JAVASCRIPT}
# What a compiler must not be able to open, and how it says so.
STOLEN_HEADER = "/etc/passwd"
REFUSALS = (f"{STOLEN_HEADER}: No such file or directory", f"{STOLEN_HEADER}: Permission denied")
# What nothing but the watcher bounds where addresses are not limited.
MEMORY_BOMBS: dict[Language, str] = {
    "javascript": "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 22, 1));",
}


def got_through(result: TestResult, output: bytes) -> str:
    """What a canary got, by its own words; empty when every wall held and it came to its end."""
    lines = output.decode(errors="replace").split("\n")
    got = ", ".join(line for line in lines if line not in ("", _DONE))
    if got:
        return got
    if _DONE not in lines:
        return f"the canary did not report ({result.outcome}: {result.detail or result.stderr[-300:]})"
    return ""
