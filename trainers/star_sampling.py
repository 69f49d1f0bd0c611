"""One iteration of STaR's sampling: every problem is tried, and tried again with a hint when no sample solved it.

    problem --K samples--> verified --none right--> hinted problem --samples--> verified
                               └──── right ones ────────────────────────────────┴──> rationales, under the problem

A hint is in the prompt of the engine alone: a rationale carries the problem without it, and that is trained on.
"""

import asyncio
import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from algorithms.acceptance import accept, needs_hint
from configs.run import StarRun
from data.rationales import Fate, Rationale
from data.records import GroupRequest, Prompt, Sampling, ScoredGroup
from trainers.evaluation import group_seed
from trainers.patience import Patience
from trainers.ports import HintingPrompts, RewardService, RolloutFleet, is_group_failure
from trainers.together import together

_LARGEST_FAILED_SHARE = 0.5


class IterationFailed(RuntimeError):
    """Too many groups of an iteration could not be sampled or scored, or no rationale was accepted."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What an iteration sampled, in order of problem."""

    iteration: int
    problems: int
    asked_with_hint: int  # problems that no sample solved, where hints are used
    failed_groups: int  # could not be sampled or scored
    rationales: tuple[Rationale, ...]
    groups: tuple[ScoredGroup, ...]  # for the store; hinted ones have odd ids
    seconds: float

    def with_fate(self, *fates: Fate) -> tuple[Rationale, ...]:
        """The rationales of these fates."""
        return tuple(r for r in self.rationales if r.fate in fates)


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """One problem: its groups and their rationales."""

    groups: tuple[ScoredGroup, ...] = ()
    rationales: tuple[Rationale, ...] = ()
    asked_with_hint: bool = False


class IterationSampler:
    """Samples iterations one after the other."""

    def __init__(self, run: StarRun, prompts: HintingPrompts, fleet: RolloutFleet, rewards: RewardService) -> None:
        self._run, self._prompts, self._fleet, self._rewards = run, prompts, fleet, rewards
        rollout = run.rollout
        self._sampling = Sampling(rollout.temperature, rollout.max_completion_tokens)
        # Twice what the engines decode at once keeps them full, and no group waits long enough to miss its deadline.
        self._open_groups = max(2, 2 * rollout.workers * rollout.max_sequences // rollout.group_size)
        attempts_s = (rollout.group_timeout_s + rollout.start_timeout_s) * rollout.max_attempts
        self._patience = Patience(attempts_s + run.rewards.timeout_s * (run.rewards.retries + 1) + 60.0)
        self._in_flight = 0
        self._failures: list[str] = []

    async def sample(self, iteration: int, problems: Seq[Prompt]) -> Sampled:
        """Sample and verify. Ids and seeds hang on the iteration alone, so a repeated one sees the same requests.

        Raises IterationFailed when more than half of the groups fail, and what the ports raise beyond that.
        """
        started = time.perf_counter()
        gate = asyncio.Semaphore(self._open_groups)
        self._failures, self._in_flight = [], 0
        first_id = 2 * (iteration - 1) * len(problems)

        async def try_problem(index: int, problem: Prompt) -> _Tried:
            async with gate:
                return await self._try_problem(problem, first_id + 2 * index)

        async with self._patience.watch(), together() as tasks:
            tasks_P = [tasks.create_task(try_problem(i, problem)) for i, problem in enumerate(problems)]
        tried_P = [task.result() for task in tasks_P]
        asked = sum(tried.asked_with_hint for tried in tried_P)
        if len(self._failures) > _LARGEST_FAILED_SHARE * (len(problems) + asked):
            raise IterationFailed(
                f"{len(self._failures)} of {len(problems) + asked} groups of iteration {iteration} failed, at most "
                f"{_LARGEST_FAILED_SHARE:.0%} may. Look into the rollout and reward logs; the last cause: "
                f"{self._failures[-1]}"
            )
        return Sampled(
            iteration=iteration,
            problems=len(problems),
            asked_with_hint=asked,
            failed_groups=len(self._failures),
            rationales=tuple(rationale for tried in tried_P for rationale in tried.rationales),
            groups=tuple(scored for tried in tried_P for scored in tried.groups),
            seconds=time.perf_counter() - started,
        )

    async def _try_problem(self, problem: Prompt, group_id: int) -> _Tried:
        cap, hints = self._run.star.max_rationales_per_problem, self._run.star.rationalization
        scored = await self._group(problem, group_id, self._run.rollout.group_size)
        if scored is None:
            return _Tried()
        sampled = accept(problem, scored, hinted=False, cap=cap)
        if hints is None or not needs_hint(sampled):
            return _Tried((scored,), sampled)
        with_hint = await self._group(self._prompts.hinted(problem), group_id + 1, hints.samples)
        if with_hint is None:
            return _Tried((scored,), sampled, asked_with_hint=True)
        rationalized = accept(problem, with_hint, hinted=True, cap=cap, shortest=hints.min_tokens)
        return _Tried((scored, with_hint), sampled + rationalized, asked_with_hint=True)

    async def _group(self, prompt: Prompt, group_id: int, samples: int) -> ScoredGroup | None:
        """A scored group; None when it failed, which costs one problem and not the run."""
        request = GroupRequest(group_id, prompt, samples, self._sampling, group_seed(self._run.seed, group_id))
        self._count(+1)
        try:
            return await self._rewards.score(await self._fleet.generate(request))
        except Exception as error:
            if not is_group_failure(error):
                raise
            self._failures.append(str(error))
            return None
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._patience.note(self._in_flight)
