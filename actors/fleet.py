"""The rollout workers that are alive right now: satisfies `trainers.ports.RolloutFleet`.

Workers join and leave one by one. A group goes to the least loaded serving worker; when that one dies or gives no
answer in time the group goes elsewhere. A lost worker is replaced, and one that cannot be started is tried again; after
`max_attempts` such failures in a row with no new worker at work, only at the next weight update. The fleet has failed
when no worker is left and none is starting. A worker serves only after it has been given weights.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.fleet_client import Member
from actors.log_file import last_lines, log_environment
from actors.rollout_worker import RolloutWorker, engine_environment
from configs.engines import Rollout
from data.records import FloatArray, Group, GroupRequest, Int32Array

log = logging.getLogger(__name__)

HEALTH_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class GroupFailed(RuntimeError):
    """One group could not be sampled. The message has the last cause. Costs the run that group and no more."""

    rollout_failed = True


class FleetFailed(RuntimeError):
    """No worker is left and none can be started, or none became ready in time: nothing can be sampled any more."""


@dataclass(slots=True)
class _Worker:
    name: str
    handle: Any
    node: str
    serving: bool = False  # has weights and may be given groups
    draining: bool = False  # is given no more groups, leaves when the last is done
    groups: int = 0  # in flight
    finished: int = 0  # groups


class Fleet:
    """`on_change` is called (in the event loop) whenever a worker is ready for weights."""

    def __init__(
        self, *, model: str, max_model_len: int, dtype: str, rollout: Rollout, backend: str, run_folder: Path
    ) -> None:
        self._run_folder = run_folder
        self._spawn_arguments = (model, max_model_len, dtype, rollout, backend)
        self._rollout = rollout
        self._backend = backend
        self._workers: dict[str, _Worker] = {}
        self._starting: dict[str, tuple[Any, asyncio.Task[None]]] = {}  # name -> actor, its start
        self._numbers = itertools.count()
        self._target = 0
        self._changed = asyncio.Event()  # something a waiting group may care about
        self._had_workers = False
        self._failures_in_a_row = 0  # not started, or lost before the first group, since a new worker finished one
        self._last_cause = "none was ever started"
        self._folder_version: int | None = None  # workers serve what they were started with, under this version
        self._updates = 0  # weight updates going on
        self._closed = False
        self.on_change: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------------------------------------------ membership

    async def start(self) -> None:
        """Bring up the configured number of workers. Raises FleetFailed when none of them can start."""
        self.scale(self._rollout.workers)
        await asyncio.wait([task for _, task in self._starting.values()])
        await self.wait_for_members()

    def scale(self, workers: int) -> None:
        """Add workers, or drain the youngest: they finish what they have and leave. Returns at once."""
        self._target = workers
        self._failures_in_a_row = 0
        staying = self._staying()
        for name in list(self._starting)[max(0, workers - len(staying)) :]:
            self._give_up_start(name)
        for worker in staying[workers:]:
            worker.draining = True
            self._leave_if_idle(worker)
        self._fill()

    def _fill(self) -> None:
        """Start as many workers as are missing."""
        missing = self._target - len(self._staying()) - len(self._starting)
        for _ in range(0 if self._closed else missing):
            name = f"rollout-{next(self._numbers)}"
            handle = self._spawn(name)
            self._starting[name] = handle, asyncio.create_task(self._bring_up(name, handle))
        self._notify()

    def _give_up_start(self, name: str) -> asyncio.Task[None]:
        handle, task = self._starting.pop(name)
        ray.kill(handle)
        task.cancel()
        return task

    def _staying(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if not worker.draining]

    async def _bring_up(self, name: str, handle: Any) -> None:
        """Make a worker of an actor, or note why it cannot be one. Cancelled when it is not wanted any more."""
        try:
            where = await _answer(handle.start.remote(), self._rollout.start_timeout_s)
            if self._folder_version is not None:
                await _answer(handle.serve_folder_weights.remote(self._folder_version), HEALTH_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            if self._starting.pop(name, None) is not None:
                ray.kill(handle)
                cause = str(error) or f"no answer within start_timeout_s={self._rollout.start_timeout_s:g}"
                self._note_failure(f"rollout worker {name} could not start: {cause}{self._log_end(name)}")
            return
        if self._starting.pop(name, None) is None:  # given up in this very moment
            return
        self._had_workers = True
        self._workers[name] = _Worker(name, handle, where["node"], serving=self._folder_version is not None)
        self._fill()  # those that failed before this one: now it is known that workers can start at all
        self.on_change()

    def _spawn(self, name: str) -> Any:
        rollout = self._rollout
        environment = engine_environment(rollout, self._backend) | log_environment(self._run_folder, name)
        return RolloutWorker.options(  # type: ignore[attr-defined]
            num_cpus=rollout.cpus_per_worker,
            num_gpus=rollout.gpus_per_worker,
            label_selector=rollout.node_labels,
            runtime_env={"env_vars": environment},
        ).remote(name, *self._spawn_arguments)

    def _note_failure(self, cause: str) -> None:
        """A worker could not start, or was lost before it did anything. Another is tried unless that went on and on.

        When the first workers of a run cannot start, the config is wrong and will be wrong again.
        """
        log.warning("%s", cause)
        self._last_cause = cause
        self._failures_in_a_row += 1
        if self._had_workers and self._failures_in_a_row < self._rollout.max_attempts:
            self._fill()
        self._notify()

    def members(self) -> tuple[Member, ...]:
        """Workers that take part in weight updates."""
        return tuple(Member(w.name, w.handle, w.node, self._rollout.tensor_parallel) for w in self._staying())

    async def wait_for_members(self) -> tuple[Member, ...]:
        """At least one worker: at once, or when a replacement is up. Raises FleetFailed when none comes.

        Called before each weight update, which is when workers that could not be started are tried again.
        """
        if self._staying():
            self._fill()
        while not (members := self.members()):
            await self._change("no rollout worker came up in time for a weight update")
        return members

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Drained workers stay while this lasts: one that left in the middle of a weight update would break it."""
        self._updates += 1
        try:
            yield
        finally:
            self._updates -= 1
            for worker in list(self._workers.values()):
                self._leave_if_idle(worker)

    async def remove_dead(self) -> None:
        """Ask every worker for a sign of life, and replace those that give none."""
        await asyncio.gather(*(self._remove_if_sick(worker) for worker in list(self._workers.values())))

    def mark_serving(self, names: set[str]) -> None:
        """These hold current weights and may be given groups."""
        for name in names & self._workers.keys():
            self._workers[name].serving = True
        self._notify()

    def remove(self, name: str, cause: str) -> None:
        """The worker is dead or unusable: end it and start another in its place."""
        worker = self._workers.pop(name, None)
        if worker is None:
            return
        ray.kill(worker.handle)
        cause = f"rollout worker {name} is lost: {cause}{self._log_end(name)}"
        if worker.finished or worker.draining:
            log.warning("%s", cause)
            self._last_cause = cause
            self._fill()
        else:
            self._note_failure(cause)

    def note_cause(self, cause: str) -> None:
        """Why a worker was given no weights: named should the wait for one be in vain."""
        self._last_cause = cause

    @property
    def target(self) -> int:
        """Workers that the fleet keeps up."""
        return self._target

    @property
    def size(self) -> int:
        """Workers that serve."""
        return len(self._serving())

    def _serving(self) -> list[_Worker]:
        return [worker for worker in self._staying() if worker.serving]

    # ------------------------------------------------------------------------------------------------------ generation

    async def generate(self, request: GroupRequest) -> Group:
        """Sample one group, elsewhere when a worker fails. Raises GroupFailed after `max_attempts`, or FleetFailed."""
        cause = ""
        for _ in range(self._rollout.max_attempts):
            worker = await self._least_loaded()
            finished_before = worker.finished
            call = worker.handle.generate.remote(request)
            worker.groups += 1
            try:
                group: Group = await _answer(call, self._rollout.group_timeout_s)
            except RayActorError as error:
                cause = f"{worker.name} died: {error}"
                self.remove(worker.name, str(error))
            except RayError as error:
                cause = str(error)
                await self._remove_if_sick(worker)
            except TimeoutError:
                cause = f"no answer from {worker.name} within group_timeout_s={self._rollout.group_timeout_s:g}"
                ray.cancel(call)
                if worker.finished == finished_before:  # not merely slow with this one: it is stuck
                    self.remove(worker.name, cause)
            except asyncio.CancelledError:
                ray.cancel(call)
                raise
            else:
                self._note_success(worker)
                return group
            finally:
                worker.groups -= 1
                self._leave_if_idle(worker)
                self._notify()
        raise GroupFailed(
            f"group {request.group_id} failed {self._rollout.max_attempts} times; the last cause: {cause}"
        )

    def _note_success(self, worker: _Worker) -> None:
        if not worker.finished:
            self._failures_in_a_row = 0
        worker.finished += 1

    async def _remove_if_sick(self, worker: _Worker) -> None:
        """An engine may be dead while its actor lives."""
        try:
            await _answer(worker.handle.version.remote(), HEALTH_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            self.remove(worker.name, f"health check failed: {error or f'no answer within {HEALTH_TIMEOUT_S:g} s'}")

    async def _least_loaded(self) -> _Worker:
        while not (serving := self._serving()):
            await self._change("no rollout worker was given weights in time")
        return min(serving, key=lambda worker: worker.groups)

    async def _change(self, complaint: str) -> None:
        """Wait until something about the workers changes. Raises FleetFailed when nothing does, or nothing can."""
        if not self._staying() and not self._starting:
            raise FleetFailed(f"no rollout worker is left and none is starting; the last cause: {self._last_cause}")
        self._changed.clear()
        limit_s = self._rollout.start_timeout_s + self._rollout.group_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            raise FleetFailed(f"{complaint} ({limit_s:g} s); the last failure: {self._last_cause}") from None

    async def serve_folder_weights(self, version: int) -> None:
        """Let every worker, and each that replaces one, serve what it was started with: evaluation with no learner."""
        self._folder_version = version
        served = await self._ask(self._staying(), "serve_folder_weights", version, timeout_s=HEALTH_TIMEOUT_S)
        self.mark_serving(set(served))

    async def prompt_logprobs(self, token_ids: Int32Array, timeout_s: float) -> dict[str, FloatArray]:
        """[P-1] logprobs of the prompt from every serving worker that can be asked: the engines' side of the probe."""
        return await self._ask(self._serving(), "prompt_logprobs", token_ids, timeout_s=timeout_s)

    async def _ask(self, workers: Iterable[_Worker], method: str, argument: Any, *, timeout_s: float) -> dict[str, Any]:
        """Answers by worker. One that is dead or silent is replaced; the error of a healthy one is raised."""
        answers: dict[str, Any] = {}

        async def ask(worker: _Worker) -> None:
            try:
                answers[worker.name] = await _answer(getattr(worker.handle, method).remote(argument), timeout_s)
            except RayActorError as error:
                self.remove(worker.name, str(error))
            except RayError:
                await self._remove_if_sick(worker)
                if worker.name in self._workers:
                    raise
            except TimeoutError:
                self.remove(worker.name, f"no answer to {method} within {timeout_s:g} s")

        outcomes = await asyncio.gather(*map(ask, workers), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return answers

    # ------------------------------------------------------------------------------------------------------------- end

    async def close(self) -> None:
        """End every engine. Nothing is started any more."""
        self._closed = True
        await asyncio.gather(*map(self._give_up_start, list(self._starting)), return_exceptions=True)
        stops = [_answer(worker.handle.stop.remote(), STOP_TIMEOUT_S) for worker in self._workers.values()]
        await asyncio.gather(*stops, return_exceptions=True)
        self.kill()

    def kill(self) -> None:
        for worker in self._workers.values():
            ray.kill(worker.handle)
        self._workers.clear()

    def _leave_if_idle(self, worker: _Worker) -> None:
        if worker.draining and not worker.groups and not self._updates and self._workers.pop(worker.name, None):
            log.info("rollout worker %s is drained and leaves", worker.name)
            ray.kill(worker.handle)

    def _log_end(self, name: str) -> str:
        return last_lines(self._run_folder, name)

    def _notify(self) -> None:
        self._changed.set()


async def _answer(reference: Any, timeout_s: float) -> Any:
    """What a call gives. Raises TimeoutError, and what the call raises."""
    async with asyncio.timeout(timeout_s):
        return await reference
