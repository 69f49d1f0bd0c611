"""Policies, and learners that several tests share; engines and whole runs are started by the tests that need them."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from configs.algorithm import Algorithm
from configs.engines import Learner
from configs.policy import ScratchPolicy

if TYPE_CHECKING:
    from actors.learner_group import LearnerGroup

T = TypeVar("T")

SHARED_MEMORY = Path("/dev/shm")
OWN_FOLDERS = f"rayzero-test-{os.getpid()}-"

LEARNERS = {
    "tied-zero2": ("tied", Learner(ranks=2, zero_stage=2, tokens_per_microbatch=64, cpus_per_rank=0.1)),
    "tied-zero3": ("tied", Learner(ranks=2, zero_stage=3, tokens_per_microbatch=64, cpus_per_rank=0.1)),
    "untied-zero2": ("untied", Learner(ranks=2, zero_stage=2, tokens_per_microbatch=64, cpus_per_rank=0.1)),
    "untied-zero3": ("untied", Learner(ranks=2, zero_stage=3, tokens_per_microbatch=64, cpus_per_rank=0.1)),
    "tied-zero0": ("tied", Learner(ranks=1, zero_stage=0, tokens_per_microbatch=64, cpus_per_rank=0.1)),
}


@pytest.fixture(scope="session")
def policy_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random policies of the demo's kind, with tied and untied embeddings."""
    from actors.scratch_policy import write_scratch_policy

    folders: dict[str, Path] = {}
    for name, tied in (("tied", True), ("untied", False)):
        folder = tmp_path_factory.mktemp(name)
        policy = ScratchPolicy(vocabulary="characters", hidden_size=64, mlp_size=96, layers=2, tied_embeddings=tied)
        write_scratch_policy(policy, folder, seed=7)
        folders[name] = folder
    return folders


class Learners:
    """Real learner groups by name, all started side by side when the first is asked for.

    Their processes take most of the time of a test, so tests share them; `begin` gives each test a fresh optimizer.
    """

    def __init__(self, policies: dict[str, Path], folder: Path) -> None:
        from actors.learner_group import LearnerGroup

        self._policies = policies
        self._folder = folder
        self._groups: dict[str, LearnerGroup] = {}
        self._runner = asyncio.Runner()  # the groups' locks belong to one event loop

    def run(self, scenario: Coroutine[Any, Any, T], timeout_s: float = 300) -> T:
        """A test's scenario, in the groups' event loop."""
        return self._runner.run(asyncio.wait_for(scenario, timeout_s))

    def folder(self, name: str) -> Path:
        """Where the group writes logs and dumps."""
        return self._folder / name

    def policy(self, name: str) -> Path:
        """The untrained weights of the group: `begin` goes on from what earlier tests left unless it is given these."""
        return self._policies[LEARNERS[name][0]]

    async def start(self) -> None:
        """All of them, unless that is done."""
        if not self._groups:
            groups = await asyncio.gather(*(self._start(name) for name in LEARNERS))
            self._groups = dict(zip(LEARNERS, groups, strict=True))

    async def get(self, name: str) -> "LearnerGroup":
        await self.start()
        return self._groups[name]

    async def _start(self, name: str) -> "LearnerGroup":
        from actors.learner_group import LearnerGroup

        embeddings, learner = LEARNERS[name]
        return await LearnerGroup.start(
            model=str(self._policies[embeddings]),
            dtype="float32",
            learner=learner,
            algorithm=Algorithm(),
            seed=0,
            run_folder=self.folder(name),
        )

    def close(self) -> None:
        self.run(self._close(), 60)
        self._runner.close()

    async def _close(self) -> None:
        await asyncio.gather(*(group.close() for group in self._groups.values()))


@pytest.fixture(scope="session")
def learners(
    ray_cluster: None, policy_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Learners]:
    learners = Learners(policy_folders, tmp_path_factory.mktemp("learners"))
    yield learners
    learners.close()
    assert not list(SHARED_MEMORY.glob(f"{OWN_FOLDERS}*")), "a learner that was closed left weights in shared memory"


@pytest.fixture
def shared_memory_folder(request: pytest.FixtureRequest) -> Path:
    return SHARED_MEMORY / f"{OWN_FOLDERS}{abs(hash(request.node.name)) % 10**8}"
