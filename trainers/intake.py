"""What becomes of a group that comes back: into the buffer, rejected with its slot free for another, or failed.

Everything that leaves a slot before training leaves it here, and is written into the books here.
"""

import logging
from dataclasses import dataclass

from configs.algorithm import Algorithm
from data.records import ScoredGroup
from trainers.batching import judge, oldest_version
from trainers.books import Books
from trainers.rollout_buffer import RolloutBuffer

log = logging.getLogger(__name__)


class TooManyFailures(RuntimeError):
    """Group after group failed, with no good one between."""


@dataclass(frozen=True, slots=True)
class StepGroups:
    """The groups of one step."""

    taken: list[ScoredGroup]  # fill the slots of the step
    train: list[ScoredGroup]  # those of them that the zero-variance filter lets through


class Intake:
    """Sorts what comes back, and chooses the groups of a step."""

    def __init__(self, algorithm: Algorithm, buffer: RolloutBuffer, books: Books, *, prompts_per_step: int) -> None:
        self._filters, self._staleness = algorithm.filters, algorithm.staleness
        self._graded = algorithm.advantage != "reverse_kl"  # whether a completion needs a score to teach
        self._buffer, self._books = buffer, books
        # Two full rounds of the buffer without one good group are an outage, not bad luck.
        self._most_failures = max(16, 2 * (algorithm.staleness.max_staleness + 1) * prompts_per_step)
        self._failures_in_a_row = 0
        self._rejected: list[ScoredGroup] = []
        self._samples = self._tokens = 0
        self.refills = 0  # groups sampled in place of dropped ones, for the step that is being collected

    def arrived(self, scored: ScoredGroup) -> None:
        """A scored group. Raises TooManyFailures when too many in a row have too few valid completions."""
        self._samples += len(scored.verdicts)
        self._tokens += sum(len(c.token_ids) for c in scored.group.completions)
        judgement = judge(scored, self._filters.min_valid_completions, graded=self._graded)
        if judgement == "invalid":
            self._reject(scored)
            details = sorted({v.detail for v in scored.verdicts if v.score is None})
            self._count_failure(f"group {scored.group.group_id} has too few scored completions: {details[:3]}")
            return
        self._failures_in_a_row = 0
        refill = judgement == "no_variance" and self._filters.zero_variance == "refill"
        if refill and self.refills < self._filters.max_refills_per_step:
            self.refills += 1
            self._reject(scored)
        else:
            self._buffer.add(scored)

    def failed(self, group_id: int, cause: str) -> None:
        """A group that could not be sampled or scored. Raises TooManyFailures as above."""
        self._buffer.release(group_id)
        self._books.failed += 1
        log.warning("group %d failed, another takes its place: %s", group_id, cause)
        self._count_failure(cause)

    def drop_too_old(self, version: int) -> bool:
        """With `stale_tokens: drop`, reject ready groups that a learner at `version` finds too old; whether any was."""
        if self._staleness.stale_tokens != "drop":
            return False
        oldest_allowed = version - self._staleness.max_staleness
        too_old = [
            scored for scored in self._buffer.ready if oldest_version(scored, graded=self._graded) < oldest_allowed
        ]
        for scored in too_old:
            self._reject(scored)
        return bool(too_old)

    def choose(self) -> StepGroups:
        """The groups of the next step. What the filter drops now still fills its slot: refills are used up, or off."""
        taken = self._buffer.take()
        self.refills = 0
        if self._filters.zero_variance == "keep":
            return StepGroups(taken, taken)
        return StepGroups(taken, [scored for scored in taken if judge(scored, 1, graded=self._graded) == "trainable"])

    def close_step(self, groups: StepGroups) -> list[ScoredGroup]:
        """The step's groups have left the buffer: write the books. Returns all that left since the last step."""
        trained = {scored.group.group_id for scored in groups.train}
        dropped = [scored for scored in groups.taken if scored.group.group_id not in trained]
        self._books.trained += len(groups.train)
        self._books.rejected += len(dropped)
        left, self._rejected = [*groups.train, *dropped, *self._rejected], []
        return left

    def read_flow(self) -> tuple[int, int]:
        """(completions, tokens) that came back since this was last asked."""
        flow = self._samples, self._tokens
        self._samples = self._tokens = 0
        return flow

    def _reject(self, scored: ScoredGroup) -> None:
        self._buffer.release(scored.group.group_id)
        self._books.rejected += 1
        self._rejected.append(scored)

    def _count_failure(self, cause: str) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row > self._most_failures:
            raise TooManyFailures(
                f"{self._failures_in_a_row} groups in a row failed, more than {self._most_failures} (two rounds of the "
                f"buffer). Look into the rollout and reward logs; the last cause: {cause}"
            )
