"""The reward service on stand-in actors: every group gets its verdicts, whatever dies, and the queue holds."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayError

from actors import reward_service as module
from actors.reward_service import RewardsBroken, RewardService
from configs.rewards import RewardPart, Rewards
from data.records import Completion, Group, Prompt, Verdict
from tests.actors.standins import Reference, forever

pytestmark = pytest.mark.unit

RIGHT = Verdict(outcome="ok", score=1.0, correct=True, parts={}, detail="")
BROKEN = Verdict(outcome="infra_error", score=None, correct=False, detail="no sandbox")


def group(number: int) -> Group:
    prompt = Prompt(f"p{number}", np.array([1], dtype=np.int32), "1+1=", {"answer": "2"})
    ids = np.array([5], dtype=np.int32)
    completion = Completion(ids, ids.astype(np.float32), ids, "2", "stop")
    return Group(number, prompt, (completion,), "rollout-0", 0.0)


class Actor:
    """A RewardActor whose `plan` says what scoring does; it can be killed."""

    def __init__(self, plan: Callable[["Actor", Group], Any], start: Callable[[], Any] | None) -> None:
        self.plan, self.begin = plan, start
        self.scoring = self.most = 0
        self.dead = asyncio.Event()
        self.closed = False

    async def _until_death(self, work: Any) -> Any:
        done, death = asyncio.ensure_future(work), asyncio.ensure_future(self.dead.wait())
        await asyncio.wait([done, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if self.dead.is_set():
            done.cancel()
            raise ActorDiedError()
        return done.result()

    async def _start(self) -> None:
        if self.begin is not None:
            await self.begin()

    async def _score(self, scored: Group, _: int) -> Any:
        self.scoring += 1
        self.most = max(self.most, self.scoring)
        try:
            return await self.plan(self, scored), 0.0
        finally:
            self.scoring -= 1

    async def _close(self) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        work = {"start": self._start, "score": self._score, "close": self._close}[name]
        return type("Method", (), {"remote": lambda _, *args: Reference(self._until_death(work(*args)))})()


class Ray:
    """Makes the actors and kills them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actors: list[Actor] = []
        self.plan: Callable[[Actor, Group], Any] = right
        self.begin: Callable[[], Any] | None = None
        monkeypatch.setattr(module, "RewardActor", self)
        monkeypatch.setattr(module.ray, "kill", lambda actor: actor.dead.set())
        monkeypatch.setattr(module.ray, "cancel", lambda call: None)

    def options(self, **_: Any) -> "Ray":
        return self

    def remote(self, _: Rewards, __: object) -> Actor:
        self.actors.append(Actor(self.plan, self.begin))
        return self.actors[-1]


async def right(_: Actor, __: Group) -> tuple[Verdict, ...]:
    return (RIGHT,)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    return Ray(monkeypatch)


def service(tmp_path: Path, **settings: Any) -> RewardService:
    return RewardService(Rewards(parts=(RewardPart(type="exact_number"),), **settings), 8, tmp_path)


async def test_no_actor_ever_holds_more_groups_than_its_places(ray: Ray, tmp_path: Path) -> None:
    async def slow(_: Actor, __: Group) -> tuple[Verdict, ...]:
        await asyncio.sleep(0)
        return (RIGHT,)

    ray.plan = slow
    rewards = service(tmp_path, actors=2, groups_per_actor=3)
    scored = await asyncio.gather(*(rewards.score(group(i)) for i in range(50)))
    assert [s.group.group_id for s in scored] == list(range(50))
    assert {actor.most for actor in ray.actors} == {3}


async def test_a_group_whose_actor_dies_is_scored_by_another(ray: Ray, tmp_path: Path) -> None:
    rewards = service(tmp_path, actors=1, retries=1)
    await rewards.score(group(0))
    ray.actors[0].plan = lambda *_: forever()
    scores = [asyncio.ensure_future(rewards.score(group(i))) for i in (1, 2)]
    while ray.actors[0].scoring < 2:
        await asyncio.sleep(0)
    ray.actors[0].dead.set()
    assert [(await score).verdicts for score in scores] == [(RIGHT,), (RIGHT,)]
    assert len(ray.actors) == 2, "one replacement, although two groups saw the death"
    assert rewards.metrics()["reward/retries"] == 2


async def test_after_its_retries_a_group_is_an_infrastructure_error_and_never_a_zero(ray: Ray, tmp_path: Path) -> None:
    async def die(actor: Actor, _: Group) -> Any:
        actor.dead.set()
        await forever()

    ray.plan = die
    verdict = (await service(tmp_path, retries=2).score(group(0))).verdicts[0]
    assert (verdict.outcome, verdict.score) == ("infra_error", None)
    assert len(ray.actors) >= 3


async def test_the_breaker_ends_a_run_whose_verdicts_are_mostly_errors(ray: Ray, tmp_path: Path) -> None:
    async def broken(_: Actor, __: Group) -> tuple[Verdict, ...]:
        return (BROKEN,)

    ray.plan = broken
    rewards = service(tmp_path, breaker_share=0.5)
    for i in range(module.BREAKER_MINIMUM - 1):
        await rewards.score(group(i))
    with pytest.raises(RewardsBroken, match=r"100% of the last 32 verdicts.*no sandbox"):
        await rewards.score(group(32))


async def test_actors_grow_while_groups_wait_and_shrink_when_idle(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    gate = asyncio.Event()

    async def gated(_: Actor, __: Group) -> tuple[Verdict, ...]:
        await gate.wait()
        return (RIGHT,)

    ray.plan = gated
    rewards = service(tmp_path, actors=1, max_actors=3, groups_per_actor=1)
    scores = [asyncio.ensure_future(rewards.score(group(i))) for i in range(5)]
    async with asyncio.timeout(5):
        while sum(actor.scoring for actor in ray.actors) < 3:
            await asyncio.sleep(0.005)
    gate.set()
    await asyncio.gather(*scores)
    async with asyncio.timeout(5):
        while sum(actor.closed for actor in ray.actors) < len(ray.actors) - 1:
            await asyncio.sleep(0.005)
    assert rewards.metrics()["reward/actors"] == 1


async def test_a_run_whose_reward_actors_cannot_start_ends_with_the_cause(ray: Ray, tmp_path: Path) -> None:
    async def no_walls() -> None:
        raise RayError("no user namespaces and no Landlock")

    ray.begin = no_walls
    rewards = service(tmp_path)
    with pytest.raises(RewardsBroken, match=r"no reward actor can be started.*Landlock"):
        await asyncio.wait_for(rewards.score(group(0)), 5)
    assert len(ray.actors) == module.FAILED_STARTS


async def test_a_group_that_is_given_up_gives_its_place_back(ray: Ray, tmp_path: Path) -> None:
    ray.plan = lambda *_: forever()
    rewards = service(tmp_path, groups_per_actor=1)
    first, second = (asyncio.ensure_future(rewards.score(group(i))) for i in range(2))
    while not ray.actors or not ray.actors[0].scoring:
        await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    ray.actors[0].plan = right
    assert (await asyncio.wait_for(rewards.score(group(2)), 5)).verdicts == (RIGHT,)


async def test_close_ends_every_actor_and_those_that_still_start(ray: Ray, tmp_path: Path) -> None:
    rewards = service(tmp_path, actors=2)
    await rewards.score(group(0))
    ray.begin = forever
    rewards._grow()  # pyright: ignore[reportPrivateUsage]
    await asyncio.sleep(0)
    await rewards.close()
    assert all(actor.dead.is_set() for actor in ray.actors)
    assert [actor.closed for actor in ray.actors] == [True, True, False]


async def test_a_group_that_misses_its_deadline_is_tried_again_and_its_place_is_free(ray: Ray, tmp_path: Path) -> None:
    rewards = service(tmp_path, groups_per_actor=1, timeout_s=0.05, retries=1)
    await rewards.score(group(0))
    calls = 0

    async def slow_once(_: Actor, __: Group) -> tuple[Verdict, ...]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await forever()
        return (RIGHT,)

    ray.actors[0].plan = slow_once
    assert (await rewards.score(group(1))).verdicts == (RIGHT,)
    assert (await rewards.score(group(2))).verdicts == (RIGHT,)
    assert len(ray.actors) == 1, "slow is not dead"
    assert rewards.metrics()["reward/retries"] == 1


async def test_after_its_last_missed_deadline_the_verdict_names_the_key_and_the_breaker_counts_it(
    ray: Ray, tmp_path: Path
) -> None:
    ray.plan = lambda *_: forever()
    rewards = service(tmp_path, timeout_s=0.01, retries=0)
    verdict = (await rewards.score(group(0))).verdicts[0]
    assert (verdict.outcome, verdict.score) == ("infra_error", None)
    assert "rewards.timeout_s=0.01" in verdict.detail
    for i in range(1, module.BREAKER_MINIMUM - 1):
        await rewards.score(group(i))
    with pytest.raises(RewardsBroken, match="infrastructure errors"):
        await rewards.score(group(module.BREAKER_MINIMUM))


async def test_errors_below_the_share_of_the_breaker_end_nothing(ray: Ray, tmp_path: Path) -> None:
    async def every_third(_: Actor, scored: Group) -> tuple[Verdict, ...]:
        return (BROKEN if scored.group_id % 3 == 0 else RIGHT,)

    ray.plan = every_third
    rewards = service(tmp_path, breaker_share=0.5)
    outcomes = [(await rewards.score(group(i))).verdicts[0].outcome for i in range(3 * module.BREAKER_MINIMUM)]
    assert outcomes.count("infra_error") == module.BREAKER_MINIMUM


async def test_groups_that_wait_are_counted_and_served_in_the_order_of_their_arrival(ray: Ray, tmp_path: Path) -> None:
    gate, served = asyncio.Event(), list[int]()

    async def gated(_: Actor, scored: Group) -> tuple[Verdict, ...]:
        served.append(scored.group_id)
        await gate.wait()
        return (RIGHT,)

    ray.plan = gated
    rewards = service(tmp_path, groups_per_actor=2)
    scores = [asyncio.ensure_future(rewards.score(group(i))) for i in range(9)]
    async with asyncio.timeout(5):
        while len(served) < 2:
            await asyncio.sleep(0)
    assert rewards.metrics()["reward/groups_waiting"] == 7
    gate.set()
    await asyncio.gather(*scores)
    assert served == list(range(9))
    assert rewards.metrics()["reward/groups_waiting"] == 0


async def test_an_alarm_is_handed_on_and_counted(ray: Ray, tmp_path: Path) -> None:
    rewards, raised = service(tmp_path), list[str]()
    rewards.on_alarm = lambda alarm: raised.append(alarm.name)
    for i in range(40):  # forty problems, one answer: "2" is what `group` has everybody say
        one = group(i)
        prompt = Prompt(one.prompt.prompt_id, one.prompt.token_ids, "?", {"answer": str(100 + i)})
        await rewards.score(Group(i, prompt, one.completions, "rollout-0", 0.0))
    assert raised == ["same_answer"]
    assert rewards.metrics()["reward/alarms"] == 1
