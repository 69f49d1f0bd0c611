"""Weight sync with real engines: what the learner computes is what the engine computes, after every update."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import ray
from numpy.typing import NDArray

from actors.fleet import Fleet
from actors.learner_group import LearnerGroup
from actors.publisher import Publisher
from configs.engines import Rollout, WeightTransfer
from configs.prompts import AdamW
from data.records import Batch, Group, GroupRequest, Prompt, Sampling, Sequence

if TYPE_CHECKING:
    from tests.integration.conftest import Learners

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

ROLLOUT = Rollout(
    group_size=4, max_completion_tokens=100, kv_cache_gib=0.5, max_sequences=64, eager=True, cpus_per_worker=0.1
)
UPDATES = 3


def ids(random: np.random.Generator, length: int) -> NDArray[np.int32]:
    return random.integers(7, 60, length).astype(np.int32)


def batch(random: np.random.Generator, step: int) -> Batch:
    """A policy-gradient step large enough to move every weight."""
    sequences = tuple(
        Sequence(
            ids(random, 6),
            ids(random, 5 + i),
            np.full(5 + i, 0.05, dtype=np.float32),
            advantage=float((-1) ** i),
            behaviour_logprobs=np.full(5 + i, -4.0, dtype=np.float32),
        )
        for i in range(7)  # an odd number: the ranks get different shares
    )
    return Batch(step=step, sequences=sequences, objective="policy", learning_rate_share=1.0)


def request(group_id: int, prompt_ids: NDArray[np.int32]) -> GroupRequest:
    return GroupRequest(group_id, Prompt(str(group_id), prompt_ids, "", {}), 4, Sampling(1.0, 100), group_id * 100)


async def sample_until(done: asyncio.Event, fleet: Fleet, seed: int) -> list[Group]:
    """One group after the other, so that something is being sampled whenever an update comes."""
    random = np.random.default_rng(seed)
    groups: list[Group] = []
    while not done.is_set():
        groups.append(await fleet.generate(request(seed * 1000 + len(groups), ids(random, 6))))
    return groups


async def check_updates(fleet: Fleet, learner: LearnerGroup, publisher: Publisher, seed: int) -> None:
    random = np.random.default_rng(seed)
    await publisher.publish(0)
    before = await learner.prompt_logprobs(ids(random, 20))
    seen: list[set[int]] = []
    for version in range(1, UPDATES + 1):
        updated = asyncio.Event()
        sampling = [asyncio.create_task(sample_until(updated, fleet, version * 10 + i)) for i in range(4)]
        report = await learner.train(batch(random, version - 1))
        assert report.version == version
        assert not report.skipped
        sync = await publisher.publish(version)
        updated.set()
        assert sync.version == version
        assert sync.bytes_sent > 100_000
        for _ in range(3):
            fresh = ids(random, 24)
            engines = await fleet.prompt_logprobs(fresh, timeout_s=60)
            expected = await learner.prompt_logprobs(fresh)
            assert engines
            for logprobs in engines.values():
                np.testing.assert_allclose(logprobs, expected, atol=1e-4, rtol=0)
        for group in [group for groups in await asyncio.gather(*sampling) for group in groups]:
            for completion in group.completions:
                versions = completion.versions
                assert set(np.unique(versions)) <= {version - 1, version}
                assert (np.diff(versions) >= 0).all()
                seen.append(set(versions.tolist()))
    for version in range(1, UPDATES + 1):
        assert {version - 1, version} in seen, f"no completion was sampled across the update to version {version}"
    after = await learner.prompt_logprobs(ids(np.random.default_rng(seed), 20))
    assert np.abs(after - before).max() > 0.01, "the updates did not move the policy, so they prove nothing"


@pytest.fixture(scope="module")
def fleets(
    learners: "Learners", policy_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Fleet]]:
    """One engine for each policy, started beside the learners."""
    fleets = {
        embeddings: Fleet(
            model=str(folder),
            max_model_len=128,
            dtype="float32",
            rollout=ROLLOUT,
            backend="host",
            run_folder=tmp_path_factory.mktemp(embeddings),
        )
        for embeddings, folder in policy_folders.items()
    }

    async def start() -> None:
        await asyncio.gather(learners.start(), *(fleet.start() for fleet in fleets.values()))

    async def close() -> None:
        await asyncio.gather(*(fleet.close() for fleet in fleets.values()))

    learners.run(start())
    yield fleets
    learners.run(close(), 60)


async def connect(learner: LearnerGroup, fleet: Fleet, folder: Path) -> Publisher:
    """Fresh optimizers, and a transfer group formed anew."""
    await learner.begin(AdamW(learning_rate=3e-2))
    probe = ids(np.random.default_rng(), 9)
    transfer = WeightTransfer(probe_every=1, probe_tolerance=1e-4)
    return Publisher(learner, fleet, transfer, folder=folder, probe_prompt=probe)


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("embeddings", ["tied", "untied"])
def test_engine_equals_learner_after_every_update_while_sampling_goes_on(
    embeddings: str, stage: int, learners: "Learners", fleets: dict[str, Fleet], shared_memory_folder: Path
) -> None:
    """With two ranks; one engine serves both stages, its transfer group formed anew for the second."""

    async def scenario() -> None:
        learner = await learners.get(f"{embeddings}-zero{stage}")
        publisher = await connect(learner, fleets[embeddings], shared_memory_folder)
        await check_updates(fleets[embeddings], learner, publisher, seed=stage)

    learners.run(scenario())


def test_a_worker_killed_during_an_update_is_replaced_and_gets_the_new_weights(
    learners: "Learners", fleets: dict[str, Fleet], shared_memory_folder: Path
) -> None:
    """Killed at a random moment of the update; the groups that it was sampling come from its replacement."""
    random = np.random.default_rng()
    fleet = fleets["tied"]

    async def scenario() -> None:
        learner = await learners.get("tied-zero2")
        publisher = await connect(learner, fleet, shared_memory_folder)
        usual = (await publisher.publish(0)).sync_s
        groups = [asyncio.create_task(fleet.generate(request(100 + i, ids(random, 6)))) for i in range(4)]
        await learner.train(batch(random, 0))
        (worker,) = fleet.members()
        publishing = asyncio.create_task(publisher.publish(1))
        await asyncio.wait([publishing], timeout=float(random.uniform(0, usual)))
        ray.kill(worker.handle)
        await publishing
        assert {completion.versions.max() for task in groups for completion in (await task).completions} <= {0, 1}
        (replacement,) = fleet.members()
        assert replacement.name != worker.name
        fresh = ids(random, 24)
        engines = await fleet.prompt_logprobs(fresh, timeout_s=60)
        np.testing.assert_allclose(engines[replacement.name], await learner.prompt_logprobs(fresh), atol=1e-4, rtol=0)

    learners.run(scenario())
