"""The reward models of a rubric: their processes started, and the port that rewards score through.

Loads neither torch nor transformers, for every reward actor imports it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.log_file import last_lines, log_environment
from algorithms.step_scores import aggregate
from configs.reward_model import RewardModelOptions
from configs.rewards import Rewards, reward_models
from data.records import Int32Array
from rewards.reward_model import ModelReward, StepScorer
from rewards.sample import InfrastructureError


class ServedModel:
    """The port to a `RewardModelActor`; travels between processes."""

    def __init__(self, handle: Any, name: str, run_folder: Path) -> None:
        self._handle, self._name, self._run_folder = handle, name, run_folder

    async def ready(self) -> None:
        """Raises InfrastructureError with the cause when the model cannot be loaded."""
        await self._answer(self._handle.ready.remote())

    async def score(self, prompt_ids: Int32Array, response_ids: Int32Array) -> list[float]:
        """As `StepScorer` says; the caller keeps the deadline."""
        return await self._answer(self._handle.score.remote(prompt_ids, response_ids))

    def kill(self) -> None:
        ray.kill(self._handle)

    async def _answer(self, call: Any) -> Any:
        try:
            return await call
        except RayError as error:
            cause = f"{self._name}: {error}{last_lines(self._run_folder, self._name)}"
            raise InfrastructureError(cause) from error


def serve_reward_models(rewards: Rewards, run_folder: Path) -> dict[str, ServedModel]:
    """Start an actor for every folder that a part of the rubric names."""
    from actors.reward_model import RewardModelActor

    served: dict[str, ServedModel] = {}
    for options in reward_models(rewards):
        if options.path in served:
            continue
        name = f"reward-model-{len(served)}"
        environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(max(1, int(options.cpus)))}
        if not options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        handle = RewardModelActor.options(  # type: ignore[attr-defined]
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            runtime_env={"env_vars": environment | log_environment(run_folder, name)},
        ).remote(options.model_copy(update={"path": str(Path(options.path).absolute())}))
        served[options.path] = ServedModel(handle, name, run_folder)
    return served


def model_reward(served: Mapping[str, StepScorer], options: RewardModelOptions) -> ModelReward:
    """The reward of one part of the rubric."""
    return ModelReward(served[options.path], partial(aggregate, how=options.aggregation))
