"""Where the two sides of a comparison run: ours on a local Ray, the bare one in a fresh process without Ray.

Both take the fastest of several rounds: whatever else the machine does can only make a round slower.
"""

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cli.cluster import start_ray
from configs.engines import Cluster

T = TypeVar("T")

BARE_TIMEOUT_S = 300.0
ENDING_TIMEOUT_S = 30.0


@contextlib.contextmanager
def local_ray(cpus: int = 4) -> Iterator[None]:
    """A Ray of this benchmark's own, with at least as many logical CPUs as its actors ask for."""
    import ray

    start_ray(Cluster(cpus=cpus, object_store_mib=128))
    try:
        yield
    finally:
        ray.shutdown()


def in_fresh_process(function: Callable[..., T], environment: Mapping[str, str], *arguments: Any) -> T:
    """Call a module's function where nothing is imported yet; it may start processes of its own.

    Raises RuntimeError with the traceback when it fails, TimeoutError after `BARE_TIMEOUT_S`, EOFError when it dies.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments))
    before = dict(os.environ)
    os.environ |= environment
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    sender.close()  # ours: the child's is then the last, and its death ends the wait
    try:
        if not receiver.poll(BARE_TIMEOUT_S):
            raise TimeoutError(f"{function.__name__} gave no answer within {BARE_TIMEOUT_S:g} s")
        answer, failure = receiver.recv()
        if failure is not None:
            raise RuntimeError(f"{function.__name__} failed:\n{failure}")
        return answer
    finally:
        process.terminate()
        process.join(ENDING_TIMEOUT_S)
        process.kill()


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send((function(*arguments), None))
    except BaseException:
        sender.send((None, traceback.format_exc()))
        raise
