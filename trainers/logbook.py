"""What a loop tells the world: metrics and samples to the tracker, every group to the store, sums for the summary."""

import asyncio
from collections.abc import Mapping
from collections.abc import Sequence as Seq

from data.records import ScoredGroup, StepReport, SyncReport
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from trainers.batching import StepData
from trainers.evaluation import EvalReport
from trainers.loop_state import Totals
from trainers.ports import RolloutSink, Tracker
from trainers.step_metrics import batch_metrics, group_metrics, sample_rows, sync_metrics


class Logbook:
    """Writes in a thread, one write at a time, while the next step trains."""

    def __init__(
        self, tracker: Tracker, store: RolloutSink, *, sample_rows: int, thought_tags: ThoughtTags = UNKNOWN_TAGS
    ) -> None:
        self._tracker, self._store, self._sample_rows = tracker, store, sample_rows
        self._thought_tags = thought_tags
        self._writing: asyncio.Task[object] | None = None
        self.totals = Totals()
        self.evaluations: list[dict[str, float]] = []

    async def step(
        self,
        step: int,
        left: Seq[ScoredGroup],
        data: StepData,
        *,
        report: StepReport | None,
        sync: SyncReport | None,
        flow: tuple[int, int],
        more: Mapping[str, float],
    ) -> None:
        """A closed step: `left` are the groups that left the loop, `flow` is (completions, tokens) that came back.

        `more`: metrics that the loop itself knows, with `time/step_s` among them.
        """
        samples, tokens = flow
        step_s = more["time/step_s"]
        metrics = group_metrics(left, self._thought_tags) | batch_metrics(data) | dict(more)
        metrics |= {"rollout/tokens_per_s": tokens / step_s, "rollout/samples_per_s": samples / step_s}
        metrics |= (sync_metrics(sync) if sync else {}) | dict(report.metrics if report else {})
        self._add_up(samples, tokens, step_s, data, report, sync)
        self._tracker.log_step(step, metrics)
        self._tracker.log_samples(step, sample_rows(left, self._sample_rows))
        await self.written()
        advantages = {scored.group.group_id: data.advantages.get(scored.group.group_id) for scored in left}
        write = asyncio.to_thread(self._store.write, step, left, advantages=advantages, kind="train")
        self._writing = asyncio.create_task(write)

    async def evaluation(self, report: EvalReport) -> None:
        """An evaluation: metrics, and its groups to the store."""
        metrics = report.metrics()
        self.evaluations.append({"step": float(report.step)} | metrics)
        self._tracker.log_step(report.step, metrics)
        await self.written()
        await asyncio.to_thread(self._store.write, report.step, report.groups, advantages={}, kind="eval")

    async def written(self) -> None:
        """Returns when the last write is done; raises what it raised."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    def _add_up(
        self,
        samples: int,
        tokens: int,
        step_s: float,
        data: StepData,
        report: StepReport | None,
        sync: SyncReport | None,
    ) -> None:
        self.totals.samples += samples
        self.totals.generated_tokens += tokens
        self.totals.loop_s += step_s
        self.totals.staleness_max = max(self.totals.staleness_max, data.staleness_max)
        self.totals.skipped_steps += report is None or report.skipped
        if sync is not None:
            self.totals.syncs += 1
            self.totals.sync_s += sync.sync_s
