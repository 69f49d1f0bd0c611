"""The process that scores answers to `reasoning-gym`: `python -m rewards.gym_worker MEMORY_MIB`, started by the pool.

A supervisor imports the package once and forks a child for each answer, which raises its walls, scores, and is gone: no
answer meets what another one left. The child can open no file but the library, start nothing, reach nothing and signal
nobody, and its `eval` is `rewards/safe_eval.py`; either alone makes an answer such as `__import__('os').system(…)`
harmless. Where the walls do not hold nothing is served.

The protocol is that of rewards/verifier_worker.py: {"id", "task", "options", "entry", "answer", "cpu_s"} in, {"id",
"score"} out. SIGUSR1 kills the child.
"""

import builtins
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from data.reasoning_gym import load_package, read_entry
from rewards.safe_eval import safe_eval
from rewards.verifier_worker import die_with, write_frame
from sandbox.inside.child import Confinement
from sandbox.walls import landlock, privileges, resources, seccomp, syscall_lists

MAX_REPLY_BYTES = 2048
STACK_BYTES = 64 * 2**20
_ROOT = Path(__file__).resolve().parents[1]
_ANY_PID = 0x7EAD_BEEF  # stands in the prepared filter for the pid of each child; no pid is so high
_SECRET = "/etc/passwd"  # every machine has it, and everybody may read it


class Supervisor:
    """Answers requests one after the other, each in a child of its own."""

    def __init__(self, requests: int, replies: int, memory_bytes: int) -> None:
        self._requests, self._replies, self._memory_bytes = requests, replies, memory_bytes
        self._package = load_package()
        self._datasets: dict[str, Any] = {}
        self._child = 0
        self._killed = False
        self._rules = landlock.ruleset([(path, landlock.READ) for path in _readable()])
        self._filter = seccomp.program(_ANY_PID, syscall_lists.PROGRAM)
        privileges.no_new_privileges()
        self._unread = b""
        self._signals, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGUSR1, self._kill)

    def check_walls(self) -> str:
        """What gets through the walls of a child, or why they cannot be raised; empty when they hold."""
        said, _ = self._in_child(lambda: {"through": _attack()}, cpu_s=10.0)
        if said is None or "through" not in said:
            return f"{(said or {}).get('error', 'no word from the child')}"
        return ", ".join(said["through"])

    def serve(self) -> None:
        """Until the requests end."""
        write_frame(self._replies, {"ready": os.getpid()})
        while (line := self._next_line()) is not None:
            request = json.loads(line)
            work = self._scoring(request)
            said, status = (None, 0) if self._killed else self._in_child(work, request["cpu_s"])
            killed, self._killed = self._killed, False
            if killed or os.WIFSIGNALED(status):
                self._tell_death(os.WTERMSIG(status) if os.WIFSIGNALED(status) else signal.SIGKILL)
            else:
                write_frame(self._replies, {"id": request["id"], **(said or {"refused": "no score"})})

    def _next_line(self) -> bytes | None:
        """The next request; None at their end. One that is killed before its child is there is dropped here."""
        while True:
            if b"\n" in self._unread:
                line, self._unread = self._unread.split(b"\n", 1)
                if not self._killed:
                    return line
                self._killed = False
                self._tell_death(signal.SIGKILL)
                continue
            ready, _, _ = select.select([self._requests, self._signals], [], [])
            if self._requests in ready:
                chunk = os.read(self._requests, 1 << 16)
                if not chunk:
                    return None
                self._unread += chunk
                continue
            os.read(self._signals, 64)
            if self._killed and not self._unread:  # what was to be killed has just been answered
                self._killed = False
                self._tell_death(signal.SIGKILL)

    def _tell_death(self, number: int) -> None:
        write_frame(self._replies, {"died": number})
        write_frame(self._replies, {"ready": os.getpid()})

    def _kill(self, _signal: int, _frame: object) -> None:
        """The pool gives up what it asked last, wherever that is by now, and waits for word of a death."""
        self._killed = True
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)

    def _scoring(self, request: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """Trusted things first: the scorer is made here, once for all children, and knows nothing of the answer."""
        try:
            key = json.dumps([request["task"], request["options"]], sort_keys=True)
            if key not in self._datasets:
                self._datasets[key] = self._package.create_dataset(request["task"], size=1, **request["options"])
            dataset, entry = self._datasets[key], read_entry(request["entry"])
        except Exception as error:  # the reference's doing, whatever it is: it becomes the verdict
            text = f"the reference: {type(error).__name__}: {error}"
            return lambda: {"error": text[:300]}
        return lambda: _score(dataset, entry, request["answer"])

    def _in_child(self, work: Callable[[], dict[str, Any]], cpu_s: float) -> tuple[dict[str, Any] | None, int]:
        """What the child says, None when that is nothing of sense; and its status as `waitpid` gives it."""
        read_end, write_end = os.pipe()
        supervisor = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            self._be_child(work, supervisor, write_end, cpu_s)
        if self._killed:
            os.kill(self._child, signal.SIGKILL)
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            text = pipe.read(MAX_REPLY_BYTES)
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        try:
            said: object = json.loads(text)
        except ValueError:
            return None, status
        return (said if isinstance(said, dict) else None), status  # pyright: ignore[reportUnknownVariableType]

    def _be_child(self, work: Callable[[], dict[str, Any]], supervisor: int, write_end: int, cpu_s: float) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            die_with(supervisor)
            resources.place_descriptors([0, 1, 2, write_end, self._rules])
            os.chdir("/")
            rlimits = resources.shared_rlimits(STACK_BYTES, file_bytes=0)
            rlimits += resources.run_rlimits(cpu_s, self._memory_bytes, processes=None)
            instructions = self._filter.replace(_word(_ANY_PID), _word(os.getpid()))
            try:
                Confinement(rlimits, True, ruleset_fd=4, folder="/").apply(instructions)
            except Exception as error:  # whatever it is, nothing is scored without walls, and the cause is told
                os.write(3, json.dumps({"error": f"walls: {error}"}).encode())
                os._exit(status)
            os.close(4)
            builtins.eval = safe_eval
            signal.setitimer(signal.ITIMER_PROF, cpu_s)  # the kernel ends this process; no handler is involved
            os.write(3, json.dumps(work()).encode()[:MAX_REPLY_BYTES])
            status = 0
        finally:
            os._exit(status)


def _score(dataset: Any, entry: dict[str, Any], answer: str) -> dict[str, Any]:
    try:
        return {"score": float(dataset.score_answer(answer, entry))}
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:300]
    try:
        dataset.score_answer(entry["answer"], entry)
    except Exception as error:  # not the answer's doing, then: the scorer refuses the right one as well
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"refused": text}


def _word(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


def _readable() -> list[str]:
    """The library and installed packages: scorers import late and read word lists."""
    paths = {sys.prefix, sys.base_prefix, *sys.path}
    return sorted(path for path in paths if path and Path(path).is_dir() and not _ROOT.is_relative_to(path))


def _attack() -> list[str]:
    """Names of what an answer must not be able to do, and can."""
    attempts: dict[str, Callable[[], object]] = {
        f"reading {_SECRET}": lambda: os.open(_SECRET, os.O_RDONLY),
        "writing a file": lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY),
        "a new process": os.fork,
        "a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "a signal to its parent": lambda: os.kill(os.getppid(), 0),
    }
    through: list[str] = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        through.append(name)
    return through


def main() -> int:
    """Serve until the requests end. Returns the exit code."""
    die_with(os.getppid())
    # The protocol keeps private descriptors; whatever the libraries print goes nowhere.
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    try:
        supervisor = Supervisor(requests, replies, int(sys.argv[1]) * 2**20)
        if problem := supervisor.check_walls():
            raise PermissionError(f"the walls around an answer do not hold: {problem}; see docs/sandbox.md")
    except Exception as error:
        write_frame(replies, {"failed": f"{type(error).__name__}: {error}"[:1000]})
        return 1
    gc.freeze()
    supervisor.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
