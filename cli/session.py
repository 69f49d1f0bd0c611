"""The processes of one run: the only place where actors meet trainers. Everything is started side by side."""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray

from actors.control import Control, actor_name
from actors.fleet import Fleet
from actors.learner_group import LearnerGroup
from actors.publisher import Publisher
from actors.reference_model import ReferenceModel
from actors.reward_service import RewardService
from actors.scratch_policy import write_scratch_policy
from cli.prepare import Prepared
from configs.policy import ScratchPolicy
from configs.run import GrpoRun, RewardModelRun
from data.records import Int32Array

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")


@dataclass(slots=True)
class Session:
    """Live parts. The fleet may still be starting: `fleet_ready` is done when it can be given weights."""

    learner: LearnerGroup
    fleet: Fleet | None
    fleet_ready: asyncio.Task[None] | None
    publisher: Publisher | None
    rewards: RewardService | None
    reference: ReferenceModel | None

    @property
    def fleet_failed(self) -> bool:
        """No engine can be started; `wait_for_fleet` raises why."""
        task = self.fleet_ready
        return task is not None and task.done() and not task.cancelled() and task.exception() is not None

    def gauges(self) -> dict[str, float]:
        """What fleet and rewards measure of themselves."""
        measured = {} if self.rewards is None else self.rewards.metrics()
        return measured if self.fleet is None else measured | {"rollout/workers": float(self.fleet.size)}

    async def wait_for_fleet(self) -> None:
        """Raises what kept the fleet from starting."""
        if self.fleet_ready is not None:
            await self.fleet_ready


def own_shared_memory(name: str, shared: Path = SHARED_MEMORY) -> Path:
    """This process's folder for weights, not made yet. Those of runs of that name that were killed are removed."""
    for folder in shared.glob(f"rayzero-{name}-*"):
        pid = folder.name.removeprefix(f"rayzero-{name}-")
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    return shared / f"rayzero-{name}-{os.getpid()}"


@contextlib.asynccontextmanager
async def open_session(prepared: Prepared) -> AsyncIterator[Session]:
    """Start learner, fleet, rewards and reference side by side; end them all on the way out, whatever happened."""
    run, folder = prepared.run, prepared.folder
    if isinstance(run.policy, ScratchPolicy) and not prepared.model.exists():
        await asyncio.to_thread(write_scratch_policy, run.policy, prepared.model, run.seed)
    model, dtype = str(prepared.model), run.policy.dtype
    shared_memory = own_shared_memory(run.name)
    fleet = rewards = reference = publisher = None
    fleet_ready: asyncio.Task[None] | None = None
    learner: LearnerGroup | None = None
    try:
        if run.rollout is not None and run.rewards is not None:
            fleet = Fleet(
                model=model,
                max_model_len=run.policy.max_model_len,
                dtype=dtype,
                rollout=run.rollout,
                backend=run.weight_transfer.backend,
                run_folder=folder,
            )
            fleet_ready = asyncio.create_task(fleet.start())
            rewards = RewardService(run.rewards, run.rollout.max_completion_tokens, folder)
        algorithm = run.algorithm if isinstance(run, GrpoRun) else None
        learner = await LearnerGroup.start(
            model=model,
            dtype=dtype,
            learner=run.learner,
            algorithm=algorithm,
            seed=run.seed,
            run_folder=folder,
            scores=isinstance(run, RewardModelRun),
        )
        if fleet is not None:
            publisher = Publisher(
                learner,
                fleet,
                run.weight_transfer,
                folder=shared_memory,
                probe_prompt=_probe_prompt(prepared),
            )
        if isinstance(run, GrpoRun) and run.algorithm.needs_reference:
            reference = await ReferenceModel.start(
                model=model if run.reference.path is None else str(Path(run.reference.path).absolute()),
                dtype=run.reference.dtype or dtype,
                reference=run.reference,
                chunk_tokens=run.learner.logits_chunk_tokens,
                run_folder=folder,
            )
        yield Session(learner, fleet, fleet_ready, publisher, rewards, reference)
    finally:
        await _close(learner, fleet, fleet_ready, publisher, rewards, reference)
        shutil.rmtree(shared_memory, ignore_errors=True)  # there is something in it when learner rank 0 was killed


async def _close(
    learner: LearnerGroup | None,
    fleet: Fleet | None,
    fleet_ready: asyncio.Task[None] | None,
    publisher: Publisher | None,
    rewards: RewardService | None,
    reference: ReferenceModel | None,
) -> None:
    if fleet_ready is not None:
        fleet_ready.cancel()
        await asyncio.gather(fleet_ready, return_exceptions=True)
    if publisher is not None:
        await publisher.close()
    if reference is not None:
        reference.kill()
    closing = [part.close() for part in (fleet, rewards, learner) if part is not None]
    for outcome in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.warning("a part of the run did not close cleanly: %s", outcome)


def _probe_prompt(prepared: Prepared) -> Int32Array:
    """[P] a prompt of the evaluation, or of training, that both sides of a weight update score."""
    prompts = prepared.evaluation_prompts
    if not prompts and prepared.prompts is not None:
        prompts = prepared.prompts.first(1)
    if not prompts:
        raise ValueError("a weight update needs a prompt to probe with, and the run has none")
    return prompts[0].token_ids


@contextlib.asynccontextmanager
async def listening(run_folder: Path, answer: Callable[[dict[str, object]], str]) -> AsyncIterator[None]:
    """Take commands from other terminals while the block runs."""
    control = Control.options(name=actor_name(run_folder)).remote()  # type: ignore[attr-defined]

    async def listen() -> None:
        while True:
            command = await control.next_command.remote()
            await control.answer.remote(answer(command))

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        ray.kill(control)
