"""Workers join, leave, hang and die at every moment; groups and the run go on, and what cannot go on says why."""

import asyncio
from pathlib import Path

import pytest
from ray.exceptions import RayError

from actors.fleet import Fleet, FleetFailed, GroupFailed
from tests.actors.standins import Ray, Worker, fails, forever, group_of, install, make_fleet, request, until

pytestmark = pytest.mark.unit


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    return install(monkeypatch)


async def serving(folder: Path, **rollout: object) -> Fleet:
    """A started fleet whose workers all serve."""
    fleet = make_fleet(folder, **rollout)
    await fleet.start()
    fleet.mark_serving({member.name for member in fleet.members()})
    return fleet


def names(fleet: Fleet) -> set[str]:
    return {member.name for member in fleet.members()}


class Gate:
    """A `generate` that answers when it is opened."""

    def __init__(self, worker: Worker) -> None:
        self.opened = asyncio.Event()
        self._worker = worker
        worker.plan["generate"] = self.generate

    async def generate(self, request):
        await self.opened.wait()
        return group_of(request, self._worker.name, 0)


# ------------------------------------------------------------------------------------------------------------- start


async def test_start_brings_up_the_configured_number_with_the_labels_of_their_nodes(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=3, node_labels={"rayzero-group": "rollouts"}, cpus_per_worker=2)
    ready: list[int] = []
    fleet.on_change = lambda: ready.append(len(fleet.members()))
    await fleet.start()
    assert names(fleet) == {"rollout-0", "rollout-1", "rollout-2"}
    assert ready == [1, 2, 3]
    assert fleet.size == 0  # none has weights
    options = ray.options_seen["rollout-2"]
    assert options["label_selector"] == {"rayzero-group": "rollouts"}
    assert options["num_cpus"] == 2


async def test_when_no_worker_can_start_the_fleet_has_failed_with_the_last_cause_and_its_log(ray: Ray, tmp_path: Path):
    ray.default = {"start": fails(RuntimeError("no such model"))}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "rollout-0.log").write_text("engine said this\n")
    with pytest.raises(FleetFailed, match=r"(?s)could not start: .*no such model.*engine said this"):
        await make_fleet(tmp_path).start()
    assert set(ray.workers) == {"rollout-0"}, "a config that is wrong is not tried again and again"
    assert not ray.alive


async def test_an_engine_that_is_never_ready_misses_its_deadline(ray: Ray, tmp_path: Path):
    ray.default = {"start": forever}
    with pytest.raises(FleetFailed, match=r"no answer within start_timeout_s=0\.05"):
        await make_fleet(tmp_path, start_timeout_s=0.05).start()
    assert not ray.alive


async def test_one_worker_that_cannot_start_is_tried_again_while_another_runs(ray: Ray, tmp_path: Path):
    ray.plans = {"rollout-0": {"start": fails(RuntimeError("GPU is busy"))}}
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    await until(lambda: names(fleet) == {"rollout-1", "rollout-2"})


async def test_starts_that_go_on_failing_stop_until_the_next_weight_update(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=1, max_attempts=3)
    ray.default = {"start": fails(RuntimeError("GPU is busy"))}
    fleet.scale(2)
    await until(lambda: len(ray.workers) == 4)
    await asyncio.sleep(0.05)
    assert set(ray.workers) == {f"rollout-{n}" for n in range(4)}, "three attempts"
    assert (await fleet.generate(request())).worker == "rollout-0", "the others go on"
    ray.default = {}
    await fleet.wait_for_members()
    await until(lambda: names(fleet) == {"rollout-0", "rollout-4"})


async def test_when_all_are_lost_and_no_replacement_starts_waiting_groups_fail_at_once(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, max_attempts=2, start_timeout_s=60, group_timeout_s=60)
    ray.default = {"start": fails(RuntimeError("node is gone"))}
    ray.kill(ray.workers["rollout-0"])
    async with asyncio.timeout(1):
        with pytest.raises(FleetFailed, match="node is gone"):
            await fleet.generate(request())
        with pytest.raises(FleetFailed, match="node is gone"):
            await fleet.wait_for_members()


async def test_a_replacement_that_starts_after_others_failed_is_used(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, max_attempts=4)
    await fleet.generate(request())  # so that losing the worker is no failure to start
    ray.plans = {f"rollout-{n}": {"start": fails(RuntimeError("not yet"))} for n in (1, 2, 3)}
    fleet.on_change = lambda: fleet.mark_serving(names(fleet))
    ray.kill(ray.workers["rollout-0"])
    assert (await fleet.generate(request())).worker == "rollout-4"


async def test_workers_that_die_before_their_first_group_are_not_replaced_for_ever(ray: Ray, tmp_path: Path):
    ray.default = {"generate": fails(RuntimeError("crash")), "version": fails(RuntimeError("engine is dead"))}
    fleet = await serving(tmp_path, max_attempts=3)
    fleet.on_change = lambda: fleet.mark_serving(names(fleet))
    with pytest.raises(GroupFailed):
        await fleet.generate(request(0))
    with pytest.raises(FleetFailed, match="engine is dead"):
        await fleet.generate(request(1))
    assert len(ray.workers) == 3


# -------------------------------------------------------------------------------------------------------- generation


async def test_a_group_goes_to_the_least_loaded_serving_worker(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=3)
    gates = [Gate(worker) for worker in ray.workers.values()]
    groups = [asyncio.create_task(fleet.generate(request(n))) for n in range(7)]
    await until(lambda: sum(worker.times("generate") for worker in ray.workers.values()) == 7)
    assert sorted(worker.times("generate") for worker in ray.workers.values()) == [2, 2, 3]
    for gate in gates:
        gate.opened.set()
    assert [group.group_id for group in await asyncio.gather(*groups)] == list(range(7))


async def test_a_worker_without_weights_gets_no_group(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    waiting = asyncio.create_task(fleet.generate(request()))
    await asyncio.sleep(0.01)
    assert not any(worker.times("generate") for worker in ray.workers.values())
    fleet.mark_serving({"rollout-1"})
    assert (await waiting).worker == "rollout-1"
    assert fleet.size == 1


async def test_a_group_whose_worker_dies_is_sampled_elsewhere_and_the_worker_replaced(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    Gate(ray.workers["rollout-0"])
    group = asyncio.create_task(fleet.generate(request(7)))
    await until(lambda: ray.workers["rollout-0"].times("generate") == 1)
    ray.kill(ray.workers["rollout-0"])
    assert ((await group).worker, (await group).group_id) == ("rollout-1", 7)
    await until(lambda: names(fleet) == {"rollout-1", "rollout-2"})


async def test_a_worker_that_died_between_its_weights_and_its_group_costs_nothing(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    ray.kill(ray.workers["rollout-0"])
    assert (await fleet.generate(request())).worker == "rollout-1"


async def test_a_group_that_fails_everywhere_costs_that_group_alone(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2, max_attempts=3)
    for worker in ray.workers.values():
        worker.plan["generate"] = fails(ValueError("prompt is too long"))
    with pytest.raises(GroupFailed, match=r"(?s)group 5 failed 3 times.*prompt is too long") as caught:
        await fleet.generate(request(5))
    assert caught.value.rollout_failed is True
    assert ray.alive == {"rollout-0", "rollout-1"}, "healthy workers stay"
    for worker in ray.workers.values():
        del worker.plan["generate"]
    assert (await fleet.generate(request(6))).group_id == 6


async def test_a_dead_engine_in_a_live_actor_is_replaced(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    dead = fails(RuntimeError("EngineCore died"))
    ray.workers["rollout-0"].plan |= {"generate": dead, "version": dead}
    assert (await fleet.generate(request())).worker == "rollout-1"
    assert "rollout-0" not in ray.alive


async def test_a_stuck_worker_is_replaced_when_a_group_misses_its_deadline(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2, group_timeout_s=0.05)
    ray.workers["rollout-0"].plan["generate"] = forever
    assert (await fleet.generate(request())).worker == "rollout-1"
    assert "rollout-0" not in ray.alive


async def test_a_worker_that_finishes_other_groups_survives_a_slow_one(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=1, group_timeout_s=0.1, max_attempts=1)
    worker = ray.workers["rollout-0"]
    worker.plan["generate"] = lambda r: forever() if r.group_id == 0 else group_of(r, "rollout-0", 0)
    slow = asyncio.create_task(fleet.generate(request(0)))
    await until(lambda: worker.times("generate") == 1)
    await fleet.generate(request(1))
    with pytest.raises(GroupFailed, match=r"no answer from rollout-0 within group_timeout_s=0\.1"):
        await slow
    assert ray.alive == {"rollout-0"}
    assert len(ray.cancelled) == 1, "the engine is told to drop it"


async def test_a_timeout_inside_the_engine_is_not_taken_for_a_missed_deadline(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=1, max_attempts=1)
    ray.workers["rollout-0"].plan["generate"] = fails(TimeoutError("RPC to the engine timed out"))
    with pytest.raises(GroupFailed, match="RPC to the engine timed out"):
        await fleet.generate(request())
    assert ray.alive == {"rollout-0"}


async def test_a_cancelled_group_is_aborted_and_frees_its_place(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    Gate(ray.workers["rollout-0"])
    group = asyncio.create_task(fleet.generate(request()))
    await until(lambda: ray.workers["rollout-0"].times("generate") == 1)
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group
    assert len(ray.cancelled) == 1
    del ray.workers["rollout-0"].plan["generate"]
    assert (await fleet.generate(request())).worker == "rollout-0", "least loaded again"


async def test_waiting_for_a_worker_has_a_deadline_that_names_the_cause(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, start_timeout_s=0.05, group_timeout_s=0.05)
    await fleet.start()
    fleet.note_cause("the learner is gone")
    with pytest.raises(FleetFailed, match=r"no rollout worker was given weights in time \(0\.1 s\).*learner is gone"):
        await fleet.generate(request())


# ----------------------------------------------------------------------------------------------------------- scaling


async def test_scaling_down_drains_the_youngest_and_loses_no_group(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    gates = {name: Gate(worker) for name, worker in ray.workers.items()}
    groups = [asyncio.create_task(fleet.generate(request(n))) for n in range(2)]
    await until(lambda: all(worker.times("generate") for worker in ray.workers.values()))
    fleet.scale(1)
    assert names(fleet) == {"rollout-0"}
    assert (fleet.size, fleet.target) == (1, 1)
    assert ray.alive == {"rollout-0", "rollout-1"}, "it finishes what it has"
    gates["rollout-1"].opened.set()
    await until(lambda: ray.alive == {"rollout-0"})
    gates["rollout-0"].opened.set()
    assert {group.worker for group in await asyncio.gather(*groups)} == {"rollout-0", "rollout-1"}
    assert set(ray.workers) == {"rollout-0", "rollout-1"}, "none is started for one that was drained"


async def test_an_idle_worker_leaves_at_once_but_never_inside_a_weight_update(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=3)
    fleet.scale(2)
    assert ray.alive == {"rollout-0", "rollout-1"}
    with fleet.updating():
        fleet.scale(1)
        assert ray.alive == {"rollout-0", "rollout-1"}
        assert names(fleet) == {"rollout-0"}
    assert ray.alive == {"rollout-0"}


async def test_scaling_down_gives_up_workers_that_are_starting_first(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=1)
    ray.default = {"start": forever}
    fleet.scale(3)
    fleet.scale(2)
    await until(lambda: ray.alive == {"rollout-0", "rollout-1"})
    fleet.scale(1)
    await until(lambda: ray.alive == {"rollout-0"})
    assert names(fleet) == {"rollout-0"}
    ray.default = {}
    fleet.scale(2)
    await until(lambda: names(fleet) == {"rollout-0", "rollout-3"})


async def test_scaling_down_while_the_run_starts_is_no_failure(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=3)
    ray.plans = {"rollout-2": {"start": forever}}
    start = asyncio.create_task(fleet.start())
    await until(lambda: names(fleet) == {"rollout-0", "rollout-1"})
    fleet.scale(2)
    await start
    assert ray.alive == {"rollout-0", "rollout-1"}


async def test_a_draining_worker_that_dies_is_not_replaced(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    Gate(ray.workers["rollout-1"])
    groups = [asyncio.create_task(fleet.generate(request(n))) for n in range(2)]
    await until(lambda: ray.workers["rollout-1"].times("generate") == 1)
    fleet.scale(1)
    ray.kill(ray.workers["rollout-1"])
    assert {group.worker for group in await asyncio.gather(*groups)} == {"rollout-0"}
    assert set(ray.workers) == {"rollout-0", "rollout-1"}


async def test_remove_dead_replaces_only_those_that_give_no_sign_of_life(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=3)
    ray.kill(ray.workers["rollout-1"])
    await fleet.remove_dead()
    await until(lambda: names(fleet) == {"rollout-0", "rollout-2", "rollout-3"})
    fleet.remove("rollout-1", "reported twice")
    assert len(ray.workers) == 4


# -------------------------------------------------------------------------------------- evaluation without a learner


async def test_folder_weights_are_served_by_those_that_live_and_by_each_replacement(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    ray.kill(ray.workers["rollout-0"])
    await fleet.serve_folder_weights(version=0)
    assert (await fleet.generate(request())).worker == "rollout-1"
    ray.kill(ray.workers["rollout-1"])
    assert (await fleet.generate(request())).worker == "rollout-2"
    assert ray.workers["rollout-2"].current == 0


async def test_every_worker_dying_before_it_serves_folder_weights_is_survived(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path)
    await fleet.start()
    ray.kill(ray.workers["rollout-0"])
    await fleet.serve_folder_weights(version=0)
    assert (await fleet.generate(request())).worker == "rollout-1"


async def test_a_healthy_engine_that_cannot_serve_is_an_error(ray: Ray, tmp_path: Path):
    ray.default = {"serve_folder_weights": fails(ValueError("no such call"))}
    fleet = make_fleet(tmp_path)
    await fleet.start()
    with pytest.raises(RayError, match="no such call"):
        await fleet.serve_folder_weights(version=0)


# --------------------------------------------------------------------------------------------------------------- end


async def test_close_ends_every_engine_those_that_start_too_and_starts_none(ray: Ray, tmp_path: Path):
    fleet = await serving(tmp_path, workers=2)
    ray.default = {"start": forever}
    fleet.scale(3)
    await asyncio.sleep(0)
    ray.workers["rollout-0"].plan["stop"] = lambda: ray.kill(ray.workers["rollout-0"])
    await fleet.close()
    assert ray.workers["rollout-1"].times("stop") == 1
    assert not ray.alive
    fleet.scale(4)
    assert len(ray.workers) == 3


async def test_a_start_that_is_given_up_before_it_ran_leaves_no_actor(ray: Ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    start = asyncio.create_task(fleet.start())
    await asyncio.sleep(0)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await fleet.close()
    assert not ray.alive
