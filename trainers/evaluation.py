"""Held-out evaluation by the rollout fleet, at whatever version the workers hold.

All groups are submitted at once, with a bound on how many are open. Group ids are negative, so they never meet those
of training; seeds depend on the run and the problem but not on the step, so two evaluations differ by the policy alone.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.pass_at_k import clustered_interval, pass_at_k
from data.records import GroupRequest, Prompt, Sampling, ScoredGroup
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from trainers.ports import RewardService, RolloutFleet, is_group_failure
from trainers.thinking_metrics import thinking_metrics
from trainers.together import together

_OPEN_GROUPS = 1024  # enough to fill any fleet, few enough for its queues
_LARGEST_FAILED_SHARE = 0.1


class EvaluationFailed(RuntimeError):
    """Too many problems could not be sampled or scored for the figures to mean anything."""


@dataclass(frozen=True, slots=True, eq=False)
class EvalReport:
    """What the policy does on held-out problems after `step` optimizer steps."""

    step: int
    problems: int  # with at least one scored completion
    failed_groups: int  # could not be sampled or scored at all
    unscored: int  # completions without a score in the other groups
    accuracy: float  # pass@1: mean over problems of the share of correct completions
    accuracy_low: float  # 95 % Wilson interval; completions of one problem count for less than independent ones
    accuracy_high: float
    pass_at: dict[int, float]  # k -> unbiased pass@k, for powers of two up to the samples per problem
    length_mean: float  # tokens per completion
    thinking: Mapping[str, float]  # of trainers/thinking_metrics.py
    format_share: float | None  # mean of the reward part named "format"; None when there is no such part
    seconds: float
    groups: tuple[ScoredGroup, ...]  # for the store

    def metrics(self) -> dict[str, float]:
        """`eval/*`."""
        metrics = {
            "eval/accuracy": self.accuracy,
            "eval/accuracy_low": self.accuracy_low,
            "eval/accuracy_high": self.accuracy_high,
            "eval/length_mean": self.length_mean,
            "eval/problems": float(self.problems),
            "eval/failed_groups": float(self.failed_groups),
            "eval/seconds": self.seconds,
        } | {f"eval/pass_at_{k}": value for k, value in self.pass_at.items()}
        metrics |= {f"eval/thinking_{name}": value for name, value in self.thinking.items()}
        return metrics if self.format_share is None else metrics | {"eval/format_share": self.format_share}


async def evaluate(
    fleet: RolloutFleet,
    rewards: RewardService,
    prompts: Seq[Prompt],
    *,
    samples: int,
    temperature: float,
    max_completion_tokens: int,
    seed: int,
    step: int,
    thought_tags: ThoughtTags = UNKNOWN_TAGS,
) -> EvalReport:
    """Sample each prompt `samples` times and score the completions.

    Raises EvaluationFailed when more than 10 % of the groups, or of the completions, have no verdict.
    """
    if not prompts:
        raise ValueError("evaluation needs at least one prompt; check evaluation.prompts and evaluation.problems")
    started = time.perf_counter()
    gate = asyncio.Semaphore(_OPEN_GROUPS)
    sampling = Sampling(temperature=temperature, max_completion_tokens=max_completion_tokens)
    failures: list[str] = []

    async def try_problem(index: int, prompt: Prompt) -> ScoredGroup | None:
        request = GroupRequest(-1 - index, prompt, samples, sampling, group_seed(seed, -1 - index))
        async with gate:
            try:
                return await rewards.score(await fleet.generate(request))
            except Exception as error:
                if not is_group_failure(error):
                    raise
                failures.append(str(error))
                return None

    async with together() as tasks:
        tried = [tasks.create_task(try_problem(i, prompt)) for i, prompt in enumerate(prompts)]
    groups = [scored for task in tried if (scored := task.result()) is not None]
    if len(failures) > _LARGEST_FAILED_SHARE * len(prompts):
        raise EvaluationFailed(
            f"{len(failures)} of {len(prompts)} evaluation problems failed, at most {_LARGEST_FAILED_SHARE:.0%} may. "
            f"Look into the rollout and reward logs; the last cause: {failures[-1]}"
        )
    seconds = time.perf_counter() - started
    return _report(groups, thought_tags, step=step, samples=samples, failed=len(failures), seconds=seconds)


def group_seed(run_seed: int, group_id: int) -> int:
    """Seed of a group: 62 bits of a hash of (run seed, group id), so that no two groups share samples."""
    digest = hashlib.blake2b(f"{run_seed}:{group_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 2


def _report(
    groups: Seq[ScoredGroup], thought_tags: ThoughtTags, *, step: int, samples: int, failed: int, seconds: float
) -> EvalReport:
    scored_P = np.array([sum(v.score is not None for v in g.verdicts) for g in groups], dtype=np.int64)
    correct_P = np.array([sum(v.correct for v in g.verdicts) for g in groups], dtype=np.int64)
    unscored = samples * len(groups) - int(scored_P.sum())
    if unscored > _LARGEST_FAILED_SHARE * samples * len(groups):
        raise EvaluationFailed(
            f"{unscored} of {samples * len(groups)} evaluation completions have no score, at most "
            f"{_LARGEST_FAILED_SHARE:.0%} may. Look into the reward logs; a reason: {_reason(groups)}"
        )
    has_score_P = scored_P > 0
    scored_P, correct_P = scored_P[has_score_P], correct_P[has_score_P]
    accuracy = float((correct_P / scored_P).mean())
    low, high = clustered_interval(correct_P.tolist(), scored_P.tolist())
    lengths = [len(c.token_ids) for g in groups for c in g.group.completions]
    formats = [v.parts["format"] for g in groups for v in g.verdicts if v.score is not None and "format" in v.parts]
    return EvalReport(
        step=step,
        problems=len(scored_P),
        failed_groups=failed,
        unscored=unscored,
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        pass_at=_pass_at_powers(scored_P, correct_P, samples),
        length_mean=float(np.mean(lengths)),
        thinking=thinking_metrics(groups, thought_tags),
        format_share=float(np.mean(formats)) if formats else None,
        seconds=seconds,
        groups=tuple(groups),
    )


def _pass_at_powers(scored_P: NDArray[np.int64], correct_P: NDArray[np.int64], samples: int) -> dict[int, float]:
    """k -> mean over the problems that have at least k scored completions."""
    values: dict[int, float] = {}
    k = 1
    while k <= samples:
        enough = [(int(n), int(c)) for n, c in zip(scored_P, correct_P, strict=True) if n >= k]
        if enough:
            values[k] = float(np.mean([pass_at_k(n, c, k) for n, c in enough]))
        k *= 2
    return values


def _reason(groups: Seq[ScoredGroup]) -> str:
    return next((v.detail for g in groups for v in g.verdicts if v.score is None), "none given")
