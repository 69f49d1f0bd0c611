"""Stand-ins for Ray actors: the same calls, in this process. A call runs at once; its reference can be awaited or got.

`Ray` replaces what `actors.fleet` takes from Ray: it makes workers and kills them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from actors import fleet as fleet_module
from actors.fleet import Fleet
from configs.engines import Rollout
from data.records import Completion, Group, GroupRequest, Int32Array, Prompt, Sampling

PROBE = np.arange(8, 12, dtype=np.int32)


class Reference:
    """What `.remote()` gives. Giving up the wait does not stop the call, as with Ray."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self.call = asyncio.ensure_future(work)
        self.call.add_done_callback(lambda call: call.cancelled() or call.exception())

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self.call).__await__()


class Method:
    """A method of an actor; `.remote()` starts it."""

    def __init__(self, actor: "Worker", name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *args: Any, **kwargs: Any) -> Reference:
        return Reference(self._actor.run(self._name, args, kwargs))


async def forever(*_: Any) -> None:
    """A call that never answers."""
    await asyncio.get_running_loop().create_future()


class Worker:
    """A RolloutWorker without an engine. `plan[method]` replaces what a method does; killing it fails its calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.plan: dict[str, Callable[..., Any]] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.dead = asyncio.Event()
        self.current = -1

    def __getattr__(self, name: str) -> Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(self, name)

    async def run(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, args))
        done = asyncio.ensure_future(self._do(name, args, kwargs))
        death = asyncio.ensure_future(self.dead.wait())
        await asyncio.wait([done, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if not self.dead.is_set():
            return done.result()
        done.cancel()
        raise ActorDiedError()

    async def _do(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        action = self.plan.get(name) or getattr(Worker, f"_{name}", None)
        answer = (action(*args) if name in self.plan else action(self, *args, **kwargs)) if action else None
        return await answer if asyncio.iscoroutine(answer) else answer

    def _start(self) -> dict[str, Any]:
        return {"node": "here", "pid": 1}

    def _version(self) -> int:
        return self.current

    def _serve_folder_weights(self, version: int) -> None:
        self.current = version

    def _generate(self, request: GroupRequest) -> Group:
        return group_of(request, self.name, self.current)

    def _prompt_logprobs(self, token_ids: Int32Array) -> Any:
        return np.full(len(token_ids) - 1, float(self.current), dtype=np.float32)

    def times(self, method: str) -> int:
        """How often the method was called."""
        return sum(name == method for name, _ in self.calls)


class Ray:
    """Makes stand-in workers in place of actors. `plans[name]`, or the plan `default`, is given to each new worker."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.options_seen: dict[str, dict[str, Any]] = {}
        self.cancelled: list[Reference] = []
        self.plans: dict[str, dict[str, Callable[..., Any]]] = {}
        self.default: dict[str, Callable[..., Any]] = {}

    def options(self, **options: Any) -> "_Class":
        return _Class(self, options)

    def kill(self, worker: Worker) -> None:
        worker.dead.set()

    def cancel(self, reference: Reference) -> None:
        self.cancelled.append(reference)

    @property
    def alive(self) -> set[str]:
        return {name for name, worker in self.workers.items() if not worker.dead.is_set()}


class _Class:
    def __init__(self, ray: Ray, options: dict[str, Any]) -> None:
        self._ray, self._options = ray, options

    def remote(self, name: str, *_: Any) -> Worker:
        worker = Worker(name)
        worker.plan = dict(self._ray.plans.get(name, self._ray.default))
        self._ray.workers[name] = worker
        self._ray.options_seen[name] = self._options
        return worker


def install(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """Put the stand-ins in the place of Ray in `actors.fleet`."""
    ray = Ray()
    monkeypatch.setattr(fleet_module, "ray", ray)
    monkeypatch.setattr(fleet_module, "RolloutWorker", ray)
    return ray


def make_fleet(folder: Path, **rollout: Any) -> Fleet:
    """A fleet with short deadlines."""
    settings = {"group_size": 2, "max_completion_tokens": 4, "start_timeout_s": 2.0, "group_timeout_s": 2.0, **rollout}
    return Fleet(
        model="policy",
        max_model_len=32,
        dtype="float32",
        rollout=Rollout(**settings),
        backend="host",
        run_folder=folder,
    )


def request(group_id: int = 0) -> GroupRequest:
    return GroupRequest(group_id, Prompt(f"p{group_id}", PROBE, "1+1=", {}), 2, Sampling(1.0, 4), 0)


def group_of(request: GroupRequest, worker: str, version: int) -> Group:
    tokens = np.arange(3, dtype=np.int32)
    completion = Completion(
        token_ids=tokens,
        logprobs=np.zeros(3, dtype=np.float32),
        versions=np.full(3, version, dtype=np.int32),
        text="2",
        finish_reason="stop",
    )
    return Group(request.group_id, request.prompt, (completion,) * request.group_size, worker, 0.1)


def fails(error: Exception) -> Callable[..., Any]:
    """A method of a plan that raises, as Ray hands on what an actor raised."""

    async def act(*_: Any) -> None:
        raise RayTaskError("method", f"{type(error).__name__}: {error}", error).as_instanceof_cause()

    return act


async def until(condition: Callable[[], bool], timeout_s: float = 2.0) -> None:
    """Let the event loop run until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0)
