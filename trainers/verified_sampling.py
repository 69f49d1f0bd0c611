"""Many problems sampled and verified at once, under a bound on how many are open: what STaR and rejection share.

Contract: a group that cannot be sampled or scored costs one problem and is counted; too many of them, or silence for
longer than all deadlines together, end the run.
"""

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Seq
from typing import TypeVar

from configs.engines import Rollout
from configs.rewards import Rewards
from data.records import GroupRequest, Prompt, Sampling, ScoredGroup
from trainers.evaluation import group_seed
from trainers.patience import Patience
from trainers.ports import RewardService, RolloutFleet, is_group_failure
from trainers.together import together

LARGEST_FAILED_SHARE = 0.5

T = TypeVar("T")


class GroupSampler:
    """Samples and scores single groups, and keeps count of those in flight and those that failed."""

    def __init__(
        self, rollout: Rollout, rewards: Rewards | None, seed: int, *, fleet: RolloutFleet, service: RewardService
    ) -> None:
        """`rewards`: the service's deadlines; None when it answers at once."""
        self._seed, self._fleet, self._service = seed, fleet, service
        self._sampling = Sampling(rollout.temperature, rollout.max_completion_tokens)
        # Twice what the engines decode at once keeps them full, and no group waits long enough to miss its deadline.
        self._open = max(2, 2 * rollout.workers * rollout.max_sequences // rollout.group_size)
        attempts_s = (rollout.group_timeout_s + rollout.start_timeout_s) * rollout.max_attempts
        scoring_s = rewards.timeout_s * (rewards.retries + 1) if rewards else 0.0
        self._patience = Patience(attempts_s + scoring_s + 60.0)
        self._in_flight = 0
        self.failures: list[str] = []  # causes, since the last `try_all` began

    async def try_all(self, problems: Seq[Prompt], attempt: Callable[[int, Prompt], Awaitable[T]]) -> list[T]:
        """`attempt(index, problem)` of each problem, at most so many at once as keep the engines full."""
        gate = asyncio.Semaphore(self._open)
        self.failures, self._in_flight = [], 0

        async def one(index: int, problem: Prompt) -> T:
            async with gate:
                return await attempt(index, problem)

        async with self._patience.watch(), together() as tasks:
            tried = [tasks.create_task(one(index, problem)) for index, problem in enumerate(problems)]
        return [task.result() for task in tried]

    async def group(self, prompt: Prompt, group_id: int, samples: int) -> ScoredGroup | None:
        """A scored group; None when it failed. Its seed hangs on the run's seed and the id alone."""
        request = GroupRequest(group_id, prompt, samples, self._sampling, group_seed(self._seed, group_id))
        self._count(+1)
        try:
            return await self._service.score(await self._fleet.generate(request))
        except Exception as error:
            if not is_group_failure(error):
                raise
            self.failures.append(str(error))
            return None
        finally:
            self._count(-1)

    def too_many_failed(self, groups: int, of_what: str) -> str | None:
        """Why the run should end, when more than half of so many groups failed."""
        if len(self.failures) <= LARGEST_FAILED_SHARE * groups:
            return None
        return (
            f"{len(self.failures)} of {groups} groups of {of_what} failed, at most {LARGEST_FAILED_SHARE:.0%} may. "
            f"Look into the rollout and reward logs; the last cause: {self.failures[-1]}"
        )

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._patience.note(self._in_flight)
