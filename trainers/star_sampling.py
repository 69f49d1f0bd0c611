"""One iteration of STaR's sampling: every problem is tried, and tried again with a hint when no sample solved it.

    problem --K samples--> verified --none right--> hinted problem --samples--> verified
                               └──── right ones ────────────────────────────────┴──> rationales, under the problem

A hint is in the prompt of the engine alone: a rationale carries the problem without it, and that is trained on.
"""

import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from algorithms.acceptance import accept, needs_hint
from configs.run import StarRun
from data.rationales import Fate, Rationale
from data.records import Prompt, ScoredGroup
from trainers.ports import HintingPrompts, RewardService, RolloutFleet
from trainers.verified_sampling import GroupSampler


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
        self._run, self._prompts = run, prompts
        self._sampler = GroupSampler(run.rollout, run.rewards, run.seed, fleet=fleet, service=rewards)

    async def sample(self, iteration: int, problems: Seq[Prompt]) -> Sampled:
        """Sample and verify. Ids and seeds hang on the iteration alone, so a repeated one sees the same requests.

        Raises IterationFailed when more than half of the groups fail, and what the ports raise beyond that.
        """
        started = time.perf_counter()
        first_id = 2 * (iteration - 1) * len(problems)

        async def try_problem(index: int, problem: Prompt) -> _Tried:
            return await self._try_problem(problem, first_id + 2 * index)

        tried_P = await self._sampler.try_all(problems, try_problem)
        asked = sum(tried.asked_with_hint for tried in tried_P)
        if reason := self._sampler.too_many_failed(len(problems) + asked, f"iteration {iteration}"):
            raise IterationFailed(reason)
        return Sampled(
            iteration=iteration,
            problems=len(problems),
            asked_with_hint=asked,
            failed_groups=len(self._sampler.failures),
            rationales=tuple(rationale for tried in tried_P for rationale in tried.rationales),
            groups=tuple(scored for tried in tried_P for scored in tried.groups),
            seconds=time.perf_counter() - started,
        )

    async def _try_problem(self, problem: Prompt, group_id: int) -> _Tried:
        cap, hints = self._run.star.max_rationales_per_problem, self._run.star.rationalization
        scored = await self._sampler.group(problem, group_id, self._run.rollout.group_size)
        if scored is None:
            return _Tried()
        sampled = accept(problem, scored, hinted=False, cap=cap)
        if hints is None or not needs_hint(sampled):
            return _Tried((scored,), sampled)
        with_hint = await self._sampler.group(self._prompts.hinted(problem), group_id + 1, hints.samples)
        if with_hint is None:
            return _Tried((scored,), sampled, asked_with_hint=True)
        rationalized = accept(problem, with_hint, hinted=True, cap=cap, shortest=hints.min_tokens)
        return _Tried((scored, with_hint), sampled + rationalized, asked_with_hint=True)
