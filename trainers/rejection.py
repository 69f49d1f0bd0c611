"""Rejection sampling: a model tries problems, rewards verify, and what is right becomes a data set. Nothing is trained.

    problems --K samples each--> verified --right, different, not cut, at most so many--> rows.parquet

The teacher's half of hard distillation (arXiv 2501.12948, section 2.4), the data step of RFT (arXiv 2308.01825), and
the data of DeepSeek-R1's second fine-tuning. Problems come in chunks; after each its rows are on disk and a checkpoint
says so, and a resume goes on with the next. Ids and seeds hang on the run's seed and a problem's number alone.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from algorithms.acceptance import accept
from configs.engines import Rollout
from configs.rejection import Rejection
from configs.rewards import Rewards
from data.accepted_rows import ROWS_FILE, join_chunks, write_chunk
from data.rationales import Rationale
from data.records import Prompt, ScoredGroup
from trainers import ports
from trainers.checkpoints import save_checkpoint
from trainers.step_metrics import group_metrics, sample_rows
from trainers.verified_sampling import GroupSampler

CHUNKS_FOLDER = "rows"
_STATE_FILE = "rejection.json"


class RejectionFailed(RuntimeError):
    """Too many groups could not be sampled or scored, or no completion at all was kept."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which weights sampled."""

    model: str  # folder, or file of recorded rows
    version: int  # optimizer steps in its weights, where its checkpoint tells; 0 otherwise


@dataclass(slots=True)
class RejectionTotals:
    """What was done so far, over restarts too. Counts are of completions unless they say otherwise."""

    chunks: int = 0  # finished
    problems: int = 0  # tried
    solved: int = 0  # problems with a kept completion
    failed_groups: int = 0  # could not be sampled or scored
    samples: int = 0
    generated_tokens: int = 0
    rows: int = 0  # kept
    row_tokens: int = 0
    wrong: int = 0
    no_verdict: int = 0
    unfit: int = 0  # right, but another part of the rubric scored them too low
    cut: int = 0  # at the length limit, and otherwise acceptable
    duplicates: int = 0
    over_cap: int = 0
    seconds: float = 0.0

    def add(self, problems: int, rationales: Seq[Rationale], failed: int, seconds: float) -> None:
        """Count one more chunk."""
        fates = Counter(rationale.fate for rationale in rationales)
        kept = [rationale for rationale in rationales if rationale.fate == "trained"]
        self.chunks += 1
        self.problems += problems
        self.solved += len({rationale.group_id for rationale in kept})
        self.failed_groups += failed
        self.samples += len(rationales)
        self.generated_tokens += sum(len(r.completion.token_ids) for r in rationales)
        self.rows += len(kept)
        self.row_tokens += sum(len(r.completion.token_ids) for r in kept)
        self.wrong += fates["wrong"]
        self.no_verdict += fates["no_verdict"]
        self.unfit += fates["unfit"]
        self.cut += fates["cut"]
        self.duplicates += fates["duplicate"]
        self.over_cap += fates["over_cap"]
        self.seconds += seconds

    def metrics(self) -> dict[str, float]:
        """`rejection/*`, of the run so far."""
        samples = max(self.samples, 1)
        return {
            "rejection/problems": float(self.problems),
            "rejection/rows": float(self.rows),
            "rejection/solved_share": self.solved / max(self.problems, 1),
            "rejection/kept_share": self.rows / samples,
            "rejection/wrong_share": self.wrong / samples,
            "rejection/unfit_share": self.unfit / samples,
            "rejection/cut_share": self.cut / samples,
            "rejection/duplicate_share": self.duplicates / samples,
            "rejection/over_cap_share": self.over_cap / samples,
            "rejection/failed_groups": float(self.failed_groups),
            "rejection/row_length_mean": self.row_tokens / max(self.rows, 1),
            "rejection/tokens_per_s": self.generated_tokens / self.seconds if self.seconds else 0.0,
        }


@dataclass(frozen=True, slots=True)
class RejectionResult:
    """How the run ended."""

    status: Literal["finished", "stopped"]
    totals: RejectionTotals
    rows_file: Path | None  # None after a stop: the chunks are not joined yet

    def summary(self) -> dict[str, Any]:
        """Fields of `summary.json`."""
        totals = self.totals
        figures = {name: value for name, value in asdict(totals).items() if name not in ("chunks", "row_tokens")}
        return {
            "status": self.status,
            "rows_file": None if self.rows_file is None else str(self.rows_file),
            "solved_share": totals.solved / max(totals.problems, 1),
            "row_length_mean": totals.row_tokens / max(totals.rows, 1),
            **figures,
        }


class RejectionLoop:
    """Wires the ports together for one run. Call `run` once, after `resume` when it goes on from a checkpoint."""

    def __init__(
        self,
        rejection: Rejection,
        rollout: Rollout,
        rewards: Rewards | None,
        *,
        seed: int,
        prompts: ports.PromptStream,
        fleet: ports.RolloutFleet,
        service: ports.RewardService,
        tracker: ports.Tracker,
        store: ports.RolloutSink,
        folder: Path,
        lineage: Lineage,
        shown_rows: int = 0,
        announce: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`folder`: of the run; `shown_rows`: completions per chunk for the tracker's table of samples."""
        self._rejection, self._rollout = rejection, rollout
        self._prompts, self._tracker, self._store = prompts, tracker, store
        self._folder, self._lineage = folder, lineage
        self._shown_rows, self._announce = shown_rows, announce
        self._sampler = GroupSampler(rollout, rewards, seed, fleet=fleet, service=service)
        self._stopping = False
        self.totals = RejectionTotals()

    def request_stop(self) -> None:
        """End after the chunk that is being sampled. From the event loop."""
        self._stopping = True

    async def run(self) -> RejectionResult:
        """Raises RejectionFailed, and what the ports raise."""
        wanted = self._rejection.problems
        while self.totals.problems < wanted and not self._stopping:
            self._announce(f"sampling: {self.totals.problems:,} of {wanted:,} problems, {self.totals.rows:,} rows")
            size = min(self._rejection.chunk_problems, wanted - self.totals.problems)
            await self._chunk([self._prompts.take() for _ in range(size)])
        if self.totals.problems < wanted:
            return RejectionResult("stopped", self.totals, None)
        if not self.totals.rows:
            raise RejectionFailed(
                f"none of the {self.totals.samples} completions of {wanted} problems was kept, so there is no data "
                f"set. Sample more (rollout.group_size), make the problems easier, or look at "
                f"{self._folder / 'rollouts'}, which holds what was sampled."
            )
        file = self._folder / ROWS_FILE
        await asyncio.to_thread(join_chunks, self._folder / CHUNKS_FOLDER, self.totals.chunks, file)
        return RejectionResult("finished", self.totals, file)

    async def _chunk(self, problems: Seq[Prompt]) -> None:
        """Sample, verify, choose, write, count, save."""
        started, chunk = time.perf_counter(), self.totals.chunks + 1
        first_id = self.totals.problems

        async def attempt(index: int, problem: Prompt) -> ScoredGroup | None:
            return await self._sampler.group(problem, first_id + index, self._rollout.group_size)

        scored = [group for group in await self._sampler.try_all(problems, attempt) if group is not None]
        if reason := self._sampler.too_many_failed(len(problems), f"chunk {chunk}"):
            raise RejectionFailed(reason)
        chosen = self._rejection
        rationales = [
            rationale
            for group in scored
            for rationale in accept(
                group.group.prompt,
                group,
                hinted=False,
                cap=chosen.max_rows_per_problem,
                keep=chosen.accept,
                require=chosen.require,
            )
        ]
        kept = [rationale for rationale in rationales if rationale.fate == "trained"]
        await asyncio.to_thread(write_chunk, self._folder / CHUNKS_FOLDER, chunk, kept, model=self._lineage.model)
        advantages = {group.group.group_id: np.full(len(group.verdicts), np.nan) for group in scored}
        for rationale in kept:
            advantages[rationale.group_id][rationale.sample] = 1.0  # the store then says which were kept
        await asyncio.to_thread(self._store.write, chunk, scored, advantages=advantages, kind="train")
        self.totals.add(len(problems), rationales, len(self._sampler.failures), time.perf_counter() - started)
        self._tracker.log_step(chunk, self.totals.metrics() | group_metrics(scored))
        self._tracker.log_samples(chunk, sample_rows(scored, self._shown_rows))
        await self._save()

    async def _save(self) -> None:
        state = {
            "totals": asdict(self.totals),
            "prompt_cursor": self._prompts.state(),
            "lineage": asdict(self._lineage),
        }

        async def write(folder: Path) -> None:
            await asyncio.to_thread((folder / _STATE_FILE).write_text, json.dumps(state), "utf-8")

        await save_checkpoint(
            self._folder / "checkpoints",
            self.totals.chunks,
            write,
            keep_last=1,
            version=self._lineage.version,
            world_size=0,
        )

    def resume(self, checkpoint: Path) -> None:
        """Go on after the checkpoint's chunk. Raises ValueError when another model sampled it."""
        state: dict[str, Any] = json.loads((checkpoint / _STATE_FILE).read_text(encoding="utf-8"))
        if state["lineage"] != asdict(self._lineage):
            raise ValueError(
                f"{checkpoint} was sampled by {state['lineage']['model']}, and this run has {self._lineage.model}; "
                "rows of two models would stand in one data set. Resume with that model, or begin anew (--overwrite)"
            )
        self._prompts.restore(state["prompt_cursor"])
        self.totals = RejectionTotals(**state["totals"])
