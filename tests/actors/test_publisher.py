"""Weights reach whatever workers are alive, whenever they join or die; the probe compares two sides of one version."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.fleet import Fleet
from actors.fleet_client import TransferPlan
from actors.learner_group import LearnerDied
from actors.publisher import Publisher, WeightsDiffer
from configs.engines import WeightTransfer
from data.records import FloatArray, Int32Array
from tests.actors.standins import PROBE, Ray, forever, install, make_fleet, request, until

pytestmark = pytest.mark.unit


class Learner:
    """What the publisher needs of a LearnerGroup: sends its version to the plan's workers and reports who took it."""

    def __init__(self, ray: Ray) -> None:
        self.version = 0
        self.stage = 1
        self.plans: list[tuple[str, ...]] = []  # the members of each group that was formed
        self.sent: list[int] = []
        self.on_send: Callable[[], None] = lambda: None
        self.on_open: Callable[[], None] = lambda: None
        self.gate: asyncio.Event | None = None  # of a step that is going on
        self.error = 0.0  # nats
        self._ray = ray
        self._members: tuple[str, ...] = ()

    async def rendezvous(self) -> tuple[str, int]:
        return "127.0.0.1", 4242

    async def open_transfer(self, plan: TransferPlan) -> None:
        self.on_open()
        names = tuple(member.name for member in plan.members)
        if dead := set(names) - self._ray.alive:
            raise LearnerDied(f"weight transfer could not be opened: {dead}")
        self.plans.append(names)
        self._members = names

    async def send_weights(self, timeout_s: float) -> dict[str, Any]:
        if self.gate is not None:
            await self.gate.wait()
        self.on_send()
        took = [name for name in self._members if name in self._ray.alive]
        if not took:
            raise LearnerDied("no rollout worker took it")
        for name in took:
            self._ray.workers[name].current = self.version
        self.sent.append(self.version)
        failures = {name: "died" for name in self._members if name not in took}
        return {"version": self.version, "bytes": 100, "pauses_s": dict.fromkeys(took, 0.01), "failures": failures}

    async def prompt_logprobs(self, token_ids: Int32Array) -> FloatArray:
        return np.full(len(token_ids) - 1, self.version + self.error, dtype=np.float32)


class Setup:
    def __init__(self, ray: Ray, learner: Learner, fleet: Fleet, publisher: Publisher) -> None:
        self.ray, self.learner, self.fleet, self.publisher = ray, learner, fleet, publisher

    def versions(self) -> dict[str, int]:
        return {name: self.ray.workers[name].current for name in sorted(self.ray.alive)}


Make = Callable[..., Any]


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Setup] = []

    async def make(workers: int = 2, **transfer: Any) -> Setup:
        ray = install(monkeypatch)
        fleet, learner = make_fleet(tmp_path, workers=workers), Learner(ray)
        config = WeightTransfer(**{"probe_every": 1, "probe_tolerance": 1e-3, "timeout_s": 1.0, **transfer})
        publisher = Publisher(learner, fleet, config, folder=tmp_path, probe_prompt=PROBE)  # pyright: ignore[reportArgumentType]
        await fleet.start()
        made.append(Setup(ray, learner, fleet, publisher))
        return made[-1]

    yield make
    for setup in made:
        await setup.publisher.close()
        await setup.fleet.close()


async def test_a_published_version_is_on_every_worker_and_they_serve(make: Make):
    it = await make(workers=2)
    report = await it.publisher.publish(0)
    assert (report.version, report.workers, report.bytes_sent, report.pause_s) == (0, 2, 100, 0.01)
    assert report.probe_error == 0
    assert it.versions() == {"rollout-0": 0, "rollout-1": 0}
    assert it.fleet.size == 2


async def test_the_group_is_formed_once_and_the_same_version_may_be_sent_again(make: Make):
    it = await make(workers=2)
    for _ in range(2):
        assert (await it.publisher.publish(0)).version == 0
    it.learner.version = 1
    await it.publisher.publish(1)
    assert it.learner.plans == [("rollout-0", "rollout-1")]
    assert it.learner.sent == [0, 0, 1]


async def test_the_group_is_formed_anew_for_other_workers_and_for_a_new_stage(make: Make):
    it = await make(workers=2)
    await it.publisher.publish(0)
    it.fleet.scale(1)
    await it.publisher.publish(0)
    it.learner.stage = 2
    await it.publisher.publish(0)
    assert it.learner.plans == [("rollout-0", "rollout-1"), ("rollout-0",), ("rollout-0",)]


async def test_another_version_than_the_learners_is_an_error(make: Make):
    it = await make()
    with pytest.raises(RuntimeError, match="version 3 was to be published, but the learner is at 0"):
        await it.publisher.publish(3)


async def test_a_worker_that_dies_in_an_update_is_replaced_and_the_replacement_gets_the_weights(make: Make):
    it = await make(workers=2)
    await it.publisher.publish(0)
    it.learner.version = 1
    it.learner.on_send = lambda: it.ray.kill(it.ray.workers["rollout-1"])
    assert (await it.publisher.publish(1)).workers == 1
    await until(lambda: it.fleet.size == 2)
    assert it.versions() == {"rollout-0": 1, "rollout-2": 1}


async def test_when_every_worker_is_dead_the_update_waits_for_a_replacement(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)
    it.ray.kill(it.ray.workers["rollout-0"])
    it.learner.version = 1
    assert (await it.publisher.publish(1)).workers == 1
    assert it.versions() == {"rollout-1": 1}


async def test_a_worker_that_dies_while_the_group_is_formed_is_left_out_of_the_next_try(make: Make):
    it = await make(workers=2)
    it.learner.on_open = lambda: it.ray.kill(it.ray.workers["rollout-0"])
    report = await it.publisher.publish(0)
    assert "rollout-0" not in it.learner.plans[-1]
    assert report.workers == len(it.learner.plans[-1])


async def test_an_update_is_tried_three_times(make: Make):
    it = await make(workers=1)
    opened: list[int] = []

    def broken() -> None:
        opened.append(1)
        raise LearnerDied("rank 1 is gone")

    it.learner.on_open = broken
    with pytest.raises(LearnerDied, match="rank 1 is gone"):
        await it.publisher.publish(0)
    assert len(opened) == 3
    it.learner.on_open = lambda: None
    assert (await it.publisher.publish(0)).workers == 1, "and can be tried anew afterwards"


async def test_a_group_that_broke_is_not_used_again(make: Make):
    it = await make(workers=2)
    await it.publisher.publish(0)
    failures = iter([LearnerDied("a collective timed out")])

    def fail_once() -> None:
        for failure in failures:
            raise failure

    it.learner.on_send = fail_once
    await it.publisher.publish(0)
    assert it.learner.plans == [("rollout-0", "rollout-1")] * 2, "same workers, new group"


# ------------------------------------------------------------------------------------------------------------- joining


async def test_a_worker_that_joins_between_updates_gets_the_present_weights(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)
    it.fleet.scale(2)
    await until(lambda: it.fleet.size == 2)
    assert it.versions() == {"rollout-0": 0, "rollout-1": 0}
    assert it.learner.plans[-1] == ("rollout-0", "rollout-1")


async def test_before_the_first_update_nobody_is_served(make: Make):
    it = await make(workers=1)
    it.fleet.scale(2)
    await until(lambda: len(it.fleet.members()) == 2)
    await asyncio.sleep(0.01)
    assert it.learner.sent == []


async def test_a_worker_that_joins_during_the_first_update_is_served_after_it(make: Make):
    it = await make(workers=1)
    it.learner.gate = asyncio.Event()
    first = asyncio.create_task(it.publisher.publish(0))
    await until(lambda: bool(it.learner.plans))
    it.fleet.scale(2)
    await until(lambda: len(it.fleet.members()) == 2)
    it.learner.gate.set()
    assert (await first).workers == 1
    await until(lambda: it.fleet.size == 2)


async def test_a_worker_that_joins_during_a_step_gets_what_the_learner_has_then(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)
    it.learner.gate = asyncio.Event()
    it.fleet.scale(2)
    await until(lambda: len(it.learner.plans) == 2)
    it.learner.version = 1  # the step ends
    publish = asyncio.create_task(it.publisher.publish(1))
    it.learner.gate.set()
    assert (await publish).workers == 2
    assert it.versions() == {"rollout-0": 1, "rollout-1": 1}


async def test_a_joining_worker_is_not_probed_because_the_learner_may_step_meanwhile(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)
    it.learner.error = 1.0  # as if a step had been made between sending and probing
    it.fleet.scale(2)
    await until(lambda: it.fleet.size == 2)
    assert it.ray.workers["rollout-1"].times("prompt_logprobs") == 0


async def test_when_a_joining_worker_gets_no_weights_the_cause_is_kept_and_the_next_update_serves_it(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)

    def broken() -> None:
        raise LearnerDied("learner has no room")

    it.learner.on_open = broken
    it.fleet.scale(2)
    await until(lambda: "learner has no room" in it.fleet._last_cause)
    assert it.fleet.size == 1
    it.learner.on_open = lambda: None
    assert (await it.publisher.publish(0)).workers == 2
    assert it.fleet.size == 2


async def test_a_drained_worker_stays_to_the_end_of_the_update_that_it_is_part_of(make: Make):
    it = await make(workers=2)
    alive: list[set[str]] = []

    def drain() -> None:
        it.fleet.scale(1)
        alive.append(it.ray.alive)

    it.learner.on_send = drain
    assert (await it.publisher.publish(0)).workers == 2
    assert alive == [{"rollout-0", "rollout-1"}]
    assert it.ray.alive == {"rollout-0"}


async def test_close_gives_up_joins_and_welcomes_nobody_more(make: Make):
    it = await make(workers=1)
    await it.publisher.publish(0)
    it.learner.gate = asyncio.Event()
    it.fleet.scale(2)
    await until(lambda: len(it.learner.plans) == 2)
    await it.publisher.close()
    assert it.learner.sent == [0]
    it.fleet.scale(3)
    await until(lambda: len(it.fleet.members()) == 3)
    assert len(it.learner.plans) == 2


# --------------------------------------------------------------------------------------------------------------- probe


async def test_engines_that_compute_something_else_end_the_run(make: Make):
    it = await make(workers=1)
    it.learner.error = 0.01
    with pytest.raises(WeightsDiffer, match=r"rollout-0 differs from the learner by 0\.01 nats.*tolerance is 0\.001"):
        await it.publisher.publish(0)


async def test_a_nan_in_the_probe_ends_the_run(make: Make):
    it = await make(workers=1)
    it.learner.error = float("nan")
    with pytest.raises(WeightsDiffer):
        await it.publisher.publish(0)


@pytest.mark.parametrize(("every", "probed"), [(0, []), (1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3])])
async def test_the_probe_comes_every_so_many_versions(make: Make, every: int, probed: list[int]):
    it = await make(workers=1, probe_every=every)
    errors: dict[int, float | None] = {}
    for version in range(4):
        it.learner.version = version
        errors[version] = (await it.publisher.publish(version)).probe_error
    assert [version for version, error in errors.items() if error is not None] == probed


async def test_a_worker_that_dies_in_the_probe_leaves_it_to_the_others(make: Make):
    it = await make(workers=2)
    it.ray.workers["rollout-0"].plan["prompt_logprobs"] = lambda _: it.ray.kill(it.ray.workers["rollout-0"])
    assert (await it.publisher.publish(0)).probe_error == 0
    await until(lambda: it.fleet.size == 2)
    assert it.versions() == {"rollout-1": 0, "rollout-2": 0}


async def test_a_probe_that_nobody_answers_has_no_error_and_no_value(make: Make):
    it = await make(workers=1, timeout_s=0.05)
    it.ray.workers["rollout-0"].plan["prompt_logprobs"] = forever
    assert (await it.publisher.publish(0)).probe_error is None
    await until(lambda: it.fleet.size == 1)
    assert (await it.fleet.generate(request())).worker == "rollout-1"
