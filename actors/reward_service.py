"""The reward service: satisfies `trainers.ports.RewardService`. Scores groups as they arrive, on CPU actors.

Groups wait here, in the order of their arrival, until an actor has room: an actor never holds more than
`rewards.groups_per_actor`, and the wait is what holds the loop back, since a group that waits is still in flight. The
actors grow while groups wait, up to `rewards.max_actors`, and shrink again when there is nothing to do.

Errors of the infrastructure (an actor that died, a missed deadline) are tried again on a live actor, then reported as
verdicts that training masks: never as a score of 0. Too many of them trip the breaker and end the run.
"""

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.log_file import last_lines, log_environment, write_log_file
from actors.served_model import ServedModel, model_reward, serve_reward_models
from configs.rewards import Rewards
from data.records import Group, ScoredGroup, Verdict
from rewards.alarms import Alarm, RewardAlarms
from rewards.rubric import Rubric

log = logging.getLogger(__name__)

BREAKER_WINDOW = 256  # verdicts
BREAKER_MINIMUM = 32  # verdicts before the share means anything
START_TIMEOUT_S = 120.0
FAILED_STARTS = 3  # in a row, with no actor alive, end the run
IDLE_S = 60.0  # after which an actor above `rewards.actors` is ended


class RewardsBroken(RuntimeError):
    """The share of infrastructure errors is above `rewards.breaker_share`, or no reward actor can be started."""


@ray.remote(max_restarts=0, max_concurrency=64)  # pyright: ignore[reportCallIssue]
class RewardActor:
    """Applies the rubric. Scoring a group twice gives the same verdicts."""

    def __init__(self, rewards: Rewards, models: Mapping[str, ServedModel]) -> None:
        write_log_file()
        self._models = models
        self._rubric = Rubric(rewards, partial(model_reward, models))

    async def start(self) -> None:
        """Start what the rubric needs. Raises rewards.sample.InfrastructureError when the machine has it not."""
        for model in self._models.values():
            await model.ready()
        await self._rubric.start()

    async def score(self, group: Group, max_completion_tokens: int) -> tuple[tuple[Verdict, ...], float]:
        """Verdicts of the group's completions, and the seconds that the rubric took."""
        start = time.perf_counter()
        verdicts = await self._rubric.score_group(group, max_completion_tokens)
        return verdicts, time.perf_counter() - start

    async def close(self) -> None:
        """End the processes of the rubric."""
        await self._rubric.close()


@dataclass(slots=True, eq=False)
class _Actor:
    name: str
    handle: Any
    groups: int = 0  # being scored
    idle_since: float = 0.0


class RewardService:
    """`on_alarm` is called with what smells of reward hacking."""

    def __init__(self, rewards: Rewards, max_completion_tokens: int, run_folder: Path) -> None:
        self._rewards = rewards
        self._most = max(rewards.actors, rewards.max_actors or 0)
        self._max_completion_tokens = max_completion_tokens
        self._run_folder = run_folder
        self._numbers = itertools.count()
        self._models = serve_reward_models(rewards, run_folder)
        self._actors: list[_Actor] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._failed_starts = 0
        self._broken: str | None = None
        self._waiting: deque[asyncio.Future[_Actor]] = deque()
        self._outcomes: deque[bool] = deque(maxlen=BREAKER_WINDOW)  # True: infrastructure error
        self._alarms = RewardAlarms()
        self._counts: Counter[str] = Counter()
        self.on_alarm: Callable[[Alarm], None] = lambda alarm: log.warning("%s: %s", alarm.name, alarm.detail)
        for _ in range(rewards.actors):
            self._grow()

    async def score(self, group: Group) -> ScoredGroup:
        """Raises RewardsBroken when the breaker trips, or when no actor can be started."""
        start = time.perf_counter()
        verdicts, work_s = await self._score_with_retries(group)
        self._watch(verdicts)
        reward_s = time.perf_counter() - start
        scored = ScoredGroup(group, verdicts, queue_s=max(0.0, reward_s - work_s), reward_s=reward_s)
        for alarm in self._alarms.observe(scored):
            self._counts["alarms"] += 1
            self.on_alarm(alarm)
        return scored

    def metrics(self) -> dict[str, float]:
        """`reward/actors`, `reward/groups_waiting`, and over the whole run `reward/alarms` and `reward/retries`."""
        return {
            "reward/actors": float(len(self._actors)),
            "reward/groups_waiting": float(len(self._waiting)),
            "reward/alarms": float(self._counts["alarms"]),
            "reward/retries": float(self._counts["retries"]),
        }

    async def _score_with_retries(self, group: Group) -> tuple[tuple[Verdict, ...], float]:
        cause = ""
        for attempt in range(1 + self._rewards.retries):
            self._counts["retries"] += attempt > 0
            actor = await self._free_actor()
            call = actor.handle.score.remote(group, self._max_completion_tokens)
            try:
                return await asyncio.wait_for(_answer(call), self._rewards.timeout_s)
            except TimeoutError:
                cause = f"no verdicts within rewards.timeout_s={self._rewards.timeout_s:g}"
                ray.cancel(call)
            except RayActorError as error:
                cause = f"{actor.name} died: {error}{last_lines(self._run_folder, actor.name)}"
                self._lose(actor)
            except RayError as error:
                cause = str(error)
            finally:
                self._give_back(actor)
            log.warning("scoring group %d failed: %s", group.group_id, cause)
        verdict = Verdict(outcome="infra_error", score=None, correct=False, detail=cause)
        return (verdict,) * len(group.completions), 0.0

    def _watch(self, verdicts: tuple[Verdict, ...]) -> None:
        self._outcomes.extend(verdict.outcome == "infra_error" for verdict in verdicts)
        share = sum(self._outcomes) / len(self._outcomes)
        if len(self._outcomes) >= BREAKER_MINIMUM and share > self._rewards.breaker_share:
            detail = next((v.detail for v in verdicts if v.outcome == "infra_error"), "")
            raise RewardsBroken(
                f"{share:.0%} of the last {len(self._outcomes)} verdicts are infrastructure errors; "
                f"rewards.breaker_share allows {self._rewards.breaker_share:.0%}. The last one: {detail}"
            )

    # ---- the queue: a free place goes to the group that has waited longest ----

    async def _free_actor(self) -> _Actor:
        """An actor with a place taken for the caller, who gives it back."""
        if self._broken:
            raise RewardsBroken(self._broken)
        place: asyncio.Future[_Actor] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._serve()
        self._grow_while_waiting()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give_back(place.result())
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def _serve(self) -> None:
        """Hand out free places, those of the least loaded actor first."""
        while self._waiting and self._actors:
            actor = min(self._actors, key=lambda a: a.groups)
            if actor.groups >= self._rewards.groups_per_actor:
                return
            place = self._waiting.popleft()
            if not place.done():
                actor.groups += 1
                place.set_result(actor)

    def _give_back(self, actor: _Actor) -> None:
        actor.groups -= 1
        if not actor.groups:
            actor.idle_since = time.monotonic()
            if actor in self._actors and len(self._actors) > self._rewards.actors:
                asyncio.get_running_loop().call_later(IDLE_S, self._end_if_idle, actor)
        self._serve()

    # ---- the actors ----

    def _grow_while_waiting(self) -> None:
        """One actor at a time: the next one when this one serves and there are still groups that wait."""
        if self._waiting and not self._starting and len(self._actors) < self._most:
            self._grow()

    def _grow(self) -> None:
        self._starting += 1
        self._keep(self._bring_up(f"reward-{next(self._numbers)}"))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up(self, name: str) -> None:
        handle = RewardActor.options(  # type: ignore[attr-defined]
            num_cpus=self._rewards.cpus_per_actor,
            label_selector=dict(self._rewards.node_labels),
            runtime_env={
                "env_vars": {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
                | log_environment(self._run_folder, name)
            },
        ).remote(self._rewards, self._models)
        try:
            await asyncio.wait_for(_answer(handle.start.remote()), START_TIMEOUT_S)
        except asyncio.CancelledError:
            ray.kill(handle)
            raise
        except (RayError, TimeoutError) as error:
            self._starting -= 1
            ray.kill(handle)
            cause = str(error) or f"no answer within {START_TIMEOUT_S:g} s; does the cluster have the CPUs for it?"
            self._start_failed(name, cause + last_lines(self._run_folder, name))
            return
        self._starting -= 1
        self._failed_starts = 0
        self._actors.append(_Actor(name, handle, idle_since=time.monotonic()))
        self._serve()
        self._grow_while_waiting()

    def _start_failed(self, name: str, cause: str) -> None:
        log.warning("reward actor %s could not start: %s", name, cause)
        if self._actors:
            return  # the others go on; the next group that has to wait tries again
        self._failed_starts += 1
        if self._failed_starts < FAILED_STARTS:
            self._grow()
            return
        self._broken = f"no reward actor can be started; the last one, {name}: {cause}"
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(RewardsBroken(self._broken))

    def _lose(self, actor: _Actor) -> None:
        """Replace a dead actor, once however many groups it held."""
        if actor in self._actors:
            self._actors.remove(actor)
            ray.kill(actor.handle)
            if len(self._actors) + self._starting < self._rewards.actors:
                self._grow()

    def _end_if_idle(self, actor: _Actor) -> None:
        idle = not actor.groups and time.monotonic() - actor.idle_since >= IDLE_S
        if idle and actor in self._actors and len(self._actors) > self._rewards.actors:
            self._actors.remove(actor)
            self._keep(_close(actor))

    async def close(self) -> None:
        """End the actors and their verifier processes."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        actors, self._actors = self._actors, []
        await asyncio.gather(*(_close(actor) for actor in actors))
        for model in self._models.values():
            model.kill()


async def _close(actor: _Actor) -> None:
    try:
        await asyncio.wait_for(_answer(actor.handle.close.remote()), 15)
    except (RayError, TimeoutError) as error:
        log.warning("reward actor %s did not close cleanly: %s", actor.name, error)
    finally:
        ray.kill(actor.handle)


async def _answer(reference: Any) -> Any:
    return await reference
