"""A worker that dies, hangs or fails while it is asked for the probe costs the run that worker and no more."""

from pathlib import Path

import numpy as np
import pytest
from ray.exceptions import RayError

from tests.actors.standins import PROBE, fails, forever, install, make_fleet, until

pytestmark = pytest.mark.unit


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch):
    return install(monkeypatch)


async def test_a_worker_that_dies_in_the_probe_is_replaced_and_the_others_answer(ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    fleet.mark_serving({"rollout-0", "rollout-1"})
    ray.workers["rollout-0"].plan["prompt_logprobs"] = lambda _: ray.kill(ray.workers["rollout-0"])
    answers = await fleet.prompt_logprobs(PROBE, timeout_s=1.0)
    assert set(answers) == {"rollout-1"}
    assert answers["rollout-1"].shape == (len(PROBE) - 1,)
    await until(lambda: {m.name for m in fleet.members()} == {"rollout-1", "rollout-2"})


async def test_no_answer_at_all_is_an_empty_answer(ray, tmp_path: Path):
    fleet = make_fleet(tmp_path)
    await fleet.start()
    fleet.mark_serving({"rollout-0"})
    ray.kill(ray.workers["rollout-0"])
    assert await fleet.prompt_logprobs(PROBE, timeout_s=1.0) == {}


async def test_a_worker_that_never_answers_is_replaced(ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    fleet.mark_serving({"rollout-0", "rollout-1"})
    ray.workers["rollout-1"].plan["prompt_logprobs"] = forever
    assert set(await fleet.prompt_logprobs(PROBE, timeout_s=0.1)) == {"rollout-0"}
    assert "rollout-1" not in ray.alive


async def test_a_dead_engine_is_replaced_but_a_live_one_that_cannot_answer_is_an_error(ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    fleet.mark_serving({"rollout-0", "rollout-1"})
    engine_is_dead = fails(RuntimeError("EngineCore died"))
    ray.workers["rollout-0"].plan |= {"prompt_logprobs": engine_is_dead, "version": engine_is_dead}
    assert set(await fleet.prompt_logprobs(PROBE, timeout_s=1.0)) == {"rollout-1"}
    ray.workers["rollout-1"].plan["prompt_logprobs"] = fails(ValueError("prompt too long"))
    with pytest.raises(RayError, match="prompt too long"):
        await fleet.prompt_logprobs(PROBE, timeout_s=1.0)
    assert "rollout-1" in ray.alive


async def test_workers_without_weights_and_draining_ones_are_not_probed(ray, tmp_path: Path):
    fleet = make_fleet(tmp_path, workers=2)
    await fleet.start()
    fleet.mark_serving({"rollout-0"})
    assert set(await fleet.prompt_logprobs(PROBE, timeout_s=1.0)) == {"rollout-0"}
    assert ray.workers["rollout-1"].times("prompt_logprobs") == 0
    assert np.isfinite((await fleet.prompt_logprobs(PROBE, timeout_s=1.0))["rollout-0"]).all()
