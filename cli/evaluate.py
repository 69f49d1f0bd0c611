"""`rayzero eval`: held-out accuracy of a model folder, with the rollout engines and rewards of a config, no learner."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from cli.cluster import start_ray
from cli.sampling import open_sampler
from configs.errors import ConfigError
from configs.run import AnyRun
from data.prompt_source import PromptSource
from data.store import RolloutStore
from data.thinking import ThoughtTags
from trainers.checkpoints import best_complete
from trainers.evaluation import EvalReport, evaluate


def evaluate_folder(run: AnyRun, policy: Path, out: Path | None) -> dict[str, Any]:
    """Evaluate; write rollouts and figures below `out` when given. `policy`: see `find_policy`.

    Raises ConfigError for what cannot be evaluated.
    """
    if run.evaluation is None or run.rollout is None or run.rewards is None:
        raise ConfigError(run.name, ["evaluation: the config has none; add `evaluation`, `rollout` and `rewards`"])
    policy = find_policy(policy)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy, local_files_only=True)
    limit = run.policy.max_model_len - run.rollout.max_completion_tokens
    source = PromptSource(run.evaluation.prompts, tokenizer, 0, max_prompt_tokens=limit)
    prompts = source.first(run.evaluation.problems)
    start_ray(run.cluster)
    with tempfile.TemporaryDirectory() as scratch:
        folder = out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(_evaluate(run, policy, folder, prompts, ThoughtTags.of(tokenizer)))
        figures = {"policy": str(policy), **report.metrics()}
        (folder / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def find_policy(folder: Path) -> Path:
    """The model folder that is meant: itself, the policy of a checkpoint, or of a run's: the best checkpoint where the
    run marks one, otherwise the newest complete one.

    Raises ConfigError when there is none.
    """
    for candidate in (folder, folder / "policy", policy_of_run(folder)):
        if (candidate / "config.json").exists():
            return candidate.absolute()
    problem = (
        f"--policy: {folder} is no model folder (no config.json), no checkpoint with a `policy`, and no run with a "
        "complete checkpoint that was written with checkpoints.export; name one of these"
    )
    raise ConfigError("eval", [problem])


def policy_of_run(folder: Path) -> Path:
    """Where the policy of a run lies when it has one."""
    checkpoints = folder / "checkpoints"
    return (best_complete(checkpoints) or checkpoints / "final") / "policy"


async def _evaluate(
    run: AnyRun, policy: Path, folder: Path, prompts: list[Any], thought_tags: ThoughtTags
) -> EvalReport:
    assert run.evaluation is not None
    assert run.rollout is not None
    async with open_sampler(
        policy,
        dtype=run.policy.dtype,
        max_model_len=run.policy.max_model_len,
        rollout=run.rollout,
        rewards=run.rewards,
        folder=folder,
    ) as sampler:
        assert sampler.rewards is not None
        report = await evaluate(
            sampler.fleet,
            sampler.rewards,
            prompts,
            samples=run.evaluation.samples,
            temperature=run.evaluation.temperature,
            max_completion_tokens=run.rollout.max_completion_tokens,
            seed=run.seed,
            step=0,
            thought_tags=thought_tags,
        )
    RolloutStore(folder / "rollouts").write(0, report.groups, advantages={}, kind="eval")
    return report
