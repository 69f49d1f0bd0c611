"""The process that compares answers: `python -m rewards.verifier_worker MEMORY_MIB`, started by the verifier pool.

A supervisor imports the algebra once and forks the worker that uses it, and a new one whenever that dies, so a kill
costs a fork and not an import. Lines of JSON, one request at a time: {"id", "gold", "answer", "cpu_s"} in, {"id",
"same"} out. The supervisor writes {"died": signal} after a worker's death and each worker {"ready": pid} at its start;
{"failed": text} says why nothing can start. SIGUSR1 to the supervisor kills the worker.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

RECYCLE_AFTER = 5000  # requests; the algebra's caches grow
_PR_SET_PDEATHSIG = 1
# Compared once before the fork, so that what loads or fills on first use is shared by all workers.
_WARM_UP = [
    (r"(x+1)^2", r"x^{2}+2x+1"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"x > 2", r"(2, \infty)"),
    (r"2x - y = 3", r"y = 2x - 3"),
]


def main() -> int:
    """Supervise workers until the requests end. Returns the exit code."""
    parent = os.getppid()
    die_with(parent)
    # The protocol keeps private descriptors; whatever the libraries print goes nowhere.
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    try:
        from rewards.equivalence import same_answer

        for gold, answer in _WARM_UP:
            same_answer(gold, answer)
    except Exception as error:
        write_frame(replies, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    gc.freeze()
    return _supervise(requests, replies, memory_bytes=int(sys.argv[1]) * 2**20)


def _supervise(requests: int, replies: int, memory_bytes: int) -> int:
    worker = 0

    def kill(_signal: int, _frame: object) -> None:
        if worker:
            os.kill(worker, signal.SIGKILL)

    signal.signal(signal.SIGUSR1, kill)
    while True:
        supervisor = os.getpid()
        worker = os.fork()
        if worker == 0:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            _work(supervisor, requests, replies, memory_bytes)
        _, status = os.waitpid(worker, 0)
        worker = 0
        if os.WIFSIGNALED(status):
            write_frame(replies, {"died": os.WTERMSIG(status)})
        elif os.WEXITSTATUS(status) != 0:
            return 0  # the requests have ended


def _work(supervisor: int, requests: int, replies: int, memory_bytes: int) -> NoReturn:
    """Serve requests in a forked child: exit 0 to be replaced, 1 when there are no more."""
    from rewards.equivalence import same_answer

    die_with(supervisor)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    write_frame(replies, {"ready": os.getpid()})
    with os.fdopen(requests, "rb") as lines:
        for _ in range(RECYCLE_AFTER):
            line = lines.readline()
            if not line:
                os._exit(1)
            request = json.loads(line)
            # The kernel ends this process when its processor time is used up; no Python handler is involved.
            signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
            reply: dict[str, Any] = {"id": request["id"]}
            try:
                reply["same"] = same_answer(request["gold"], request["answer"])
            except (MemoryError, RecursionError, OverflowError) as error:
                reply["refused"] = type(error).__name__
            except Exception as error:
                text = f"{type(error).__name__}: {error}"[:300]
                # When the reference can be compared with itself, it was the answer that broke the algebra.
                reply["refused" if _is_usable(request["gold"]) else "error"] = text
            signal.setitimer(signal.ITIMER_PROF, 0)
            write_frame(replies, reply)
    os._exit(0)


def _is_usable(gold: str) -> bool:
    from rewards.equivalence import same_answer

    try:
        same_answer(gold, "1")
    except Exception:
        return False
    return True


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; leave at once when it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def write_frame(replies: int, frame: dict[str, Any]) -> None:
    os.write(replies, json.dumps(frame).encode() + b"\n")  # below PIPE_BUF, so it is whole or not there


if __name__ == "__main__":
    sys.exit(main())
