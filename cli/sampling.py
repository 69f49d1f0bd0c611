"""Engines that serve a model folder as it is, with rewards beside them: evaluation, rejection sampling, teachers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.endpoint_fleet import EndpointFleet
from actors.fleet import Fleet
from actors.reward_service import RewardService
from configs.endpoint import TeacherEndpoint
from configs.engines import Rollout
from configs.rewards import Rewards


@dataclass(frozen=True, slots=True)
class Sampler:
    """Live parts. `rewards` is None where nothing is graded."""

    fleet: Fleet
    rewards: RewardService | None

    def gauges(self) -> dict[str, float]:
        """What fleet and rewards measure of themselves."""
        measured = {} if self.rewards is None else self.rewards.metrics()
        return measured | {"rollout/workers": float(self.fleet.size)}


@contextlib.asynccontextmanager
async def open_sampler(
    model: Path,
    *,
    dtype: str,
    max_model_len: int,
    rollout: Rollout,
    rewards: Rewards | None,
    folder: Path,
    version: int = 0,
) -> AsyncIterator[Sampler]:
    """Start the workers with the folder's weights, under `version`; end them on the way out. No learner is needed."""
    fleet = Fleet(
        model=str(model),
        max_model_len=max_model_len,
        dtype=dtype,
        rollout=rollout,
        backend="host",
        run_folder=folder,
    )
    service = None if rewards is None else RewardService(rewards, rollout.max_completion_tokens, folder)
    try:
        await fleet.start()
        await fleet.serve_folder_weights(version=version)
        yield Sampler(fleet, service)
    finally:
        await asyncio.gather(*(part.close() for part in (fleet, service) if part is not None))


@dataclass(frozen=True, slots=True)
class Teacher:
    """Live parts of a run whose completions come from an endpoint."""

    fleet: EndpointFleet
    rewards: RewardService | None

    def gauges(self) -> dict[str, float]:
        """What the rewards measure of themselves."""
        return {} if self.rewards is None else self.rewards.metrics()


@contextlib.asynccontextmanager
async def open_teacher(
    teacher: TeacherEndpoint, tokenizer: Any, rewards: Rewards | None, max_completion_tokens: int, folder: Path
) -> AsyncIterator[Teacher]:
    """A client of the endpoint, with rewards beside it. `tokenizer`: the student's."""
    fleet = EndpointFleet(teacher, tokenizer)
    service = None if rewards is None else RewardService(rewards, max_completion_tokens, folder)
    try:
        await fleet.start()
        yield Teacher(fleet, service)
    finally:
        await asyncio.gather(*(part.close() for part in (fleet, service) if part is not None))
