"""The learner's ranks, seen as one object: satisfies `trainers.ports.Learner`, and is half of the weight sync.

Calls go to all ranks at once, without an await in between, so every rank sees the same order. Ranks do one thing after
the other, so a call first waits for its turn: every wait has a deadline, and it must not count the call before it. The
error of a missed deadline carries the rank's own words.
"""

import asyncio
from collections.abc import Sequence as Seq
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from actors.fleet_client import TransferPlan
from actors.learner_worker import LearnerWorker
from actors.log_file import last_lines, log_environment
from configs.algorithm import Algorithm
from configs.engines import Learner
from configs.prompts import Optimizer
from data.packing import plan_batch, plan_microbatches
from data.records import Batch, FloatArray, Int32Array, Sequence, StepReport

LAST_WORDS_S = 5.0  # after one rank has failed, for the others to say what happened


class LearnerDied(RuntimeError):
    """A learner rank died or did not answer in time."""


class LearnerGroup:
    """N ranks. Build with `await LearnerGroup.start(...)`."""

    def __init__(self, ranks: list[Any], learner: Learner, run_folder: Path) -> None:
        self._ranks = ranks
        self._learner = learner
        self._run_folder = run_folder
        self._turn = asyncio.Lock()
        self._stages = 0
        self._skipped = 0

    @classmethod
    async def start(
        cls,
        *,
        model: str,
        dtype: str,
        learner: Learner,
        algorithm: Algorithm | None,
        seed: int,
        run_folder: Path,
        scores: bool = False,
    ) -> "LearnerGroup":
        """Start the processes and form the group; `scores`: of a model that scores (actors/score_module.py).

        Raises LearnerDied with the cause when a rank cannot start.
        """
        environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(max(1, int(learner.cpus_per_rank)))}
        if not learner.gpus_per_rank:
            # DeepSpeed's Muon is compiled for every shape of a matrix, which takes minutes on a CPU and gains nothing.
            environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "TORCHDYNAMO_DISABLE": "1"}
        ranks = [
            LearnerWorker.options(  # type: ignore[attr-defined]
                num_cpus=learner.cpus_per_rank,
                num_gpus=learner.gpus_per_rank,
                label_selector=learner.node_labels,
                runtime_env={"env_vars": environment | log_environment(run_folder, f"learner-{rank}")},
            ).remote(rank, learner.ranks, model, dtype, learner, algorithm, seed, scores)
            for rank in range(learner.ranks)
        ]
        group = cls(ranks, learner, run_folder)
        try:
            address, port = (await group._ask([ranks[0].rendezvous.remote()], "find rank 0", learner.start_timeout_s))[
                0
            ]
            joins = [rank.join.remote(address, port, learner.start_timeout_s) for rank in ranks]
            await group._ask(joins, "form the process group", learner.start_timeout_s)
        except LearnerDied:
            group.kill()
            raise
        return group

    async def begin(self, optimizer: Optimizer, *, model: Path | None = None, version: int = 0) -> None:
        """Start a stage with a fresh optimizer, from the folder `model`, or from the weights trained so far.

        `version`: where the count of optimizer steps goes on.
        """
        # Two folders in turn: the weights of the stage before are read from the other one.
        scratch = self._run_folder / "stages" / ("even" if self._stages % 2 == 0 else "odd")
        self._stages += 1
        async with self._turn:
            source = None if model is None else str(model)
            calls = [rank.begin.remote(optimizer, str(scratch), source, version) for rank in self._ranks]
            await self._ask(calls, "build the engine", self._learner.start_timeout_s)

    async def train(self, batch: Batch) -> StepReport:
        """One optimizer step over all ranks. The data of a skipped (non-finite) step is kept in `dumps/`."""
        lengths = [sequence.num_tokens for sequence in batch.sequences]
        plan = plan_batch(batch, self._learner.tokens_per_microbatch, len(self._ranks))
        settings = replace(batch, sequences=())
        async with self._turn:
            calls = [
                rank.train.remote([[batch.sequences[i] for i in indices] for indices in microbatches], settings)
                for rank, microbatches in zip(self._ranks, plan, strict=True)
            ]
            report: StepReport = (await self._ask(calls, f"train step {batch.step}", self._learner.step_timeout_s))[0]
        if report.skipped:
            self._skipped += 1
            dump_batch(batch, self._run_folder / "dumps")
        more = {"train/tokens_per_s": sum(lengths) / report.train_s, "train/skipped_steps": float(self._skipped)}
        return replace(report, metrics={**report.metrics, **more})

    async def loss(self, batch: Batch) -> float:
        """The sum of weight times token loss over all ranks, without an update."""
        lengths = [sequence.num_tokens for sequence in batch.sequences]
        plan = plan_microbatches(lengths, self._learner.tokens_per_microbatch, len(self._ranks))
        settings = replace(batch, sequences=())
        async with self._turn:
            calls = [
                rank.loss.remote([[batch.sequences[i] for i in indices] for indices in microbatches], settings)
                for rank, microbatches in zip(self._ranks, plan, strict=True)
            ]
            return (await self._ask(calls, "compute a loss", self._learner.step_timeout_s))[0]

    async def save(self, folder: Path, *, export: bool) -> None:
        """DeepSpeed state into `learner/`, the policy into `policy/`."""
        async with self._turn:
            calls = [rank.save.remote(str(folder / "learner")) for rank in self._ranks]
            await self._ask(calls, "save", self._learner.step_timeout_s)
            if export:
                calls = [rank.export.remote(str(folder / "policy")) for rank in self._ranks]
                await self._ask(calls, "export", self._learner.step_timeout_s)

    async def export(self, folder: Path) -> None:
        """The policy as a Hugging Face folder."""
        async with self._turn:
            calls = [rank.export.remote(str(folder)) for rank in self._ranks]
            await self._ask(calls, "export", self._learner.step_timeout_s)

    async def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        async with self._turn:
            calls = [rank.load.remote(str(folder / "learner")) for rank in self._ranks]
            await self._ask(calls, "load", self._learner.start_timeout_s)

    async def logprobs(self, sequences: Seq[Sequence], temperature: float) -> list[FloatArray]:
        """[T] logprobs of each response under the present weights."""
        async with self._turn:
            calls = [rank.logprobs.remote(list(sequences), temperature) for rank in self._ranks]
            return (await self._ask(calls, "compute logprobs", self._learner.step_timeout_s))[0]

    async def scores(self, sequences: Seq[Sequence]) -> list[FloatArray]:
        """[T] score of each prefix of each response, shared out over the ranks. For a model that scores."""
        lengths = [sequence.num_tokens for sequence in sequences]
        plan = plan_microbatches(lengths, self._learner.tokens_per_microbatch, len(self._ranks))
        found: dict[int, FloatArray] = {}
        for round_ in zip(*plan, strict=True):  # one micro-batch of each rank
            async with self._turn:
                calls = [
                    rank.logprobs.remote([sequences[i] for i in indices], 1.0)
                    for rank, indices in zip(self._ranks, round_, strict=True)
                ]
                answers = await self._ask(calls, "compute scores", self._learner.step_timeout_s)
            for indices, scores in zip(round_, answers, strict=True):
                found |= dict(zip(indices, scores, strict=False))  # that of a dummy is nobody's
        return [found[i] for i in range(len(sequences))]

    # ------------------------------------------------------------------------------------------------- weight updates

    async def rendezvous(self) -> tuple[str, int]:
        """Address and a fresh port of rank 0."""
        async with self._turn:
            calls = [self._ranks[0].rendezvous.remote()]
            return (await self._ask(calls, "find rank 0", self._learner.start_timeout_s))[0]

    async def open_transfer(self, plan: TransferPlan) -> None:
        """Connect to the plan's workers."""
        async with self._turn:
            calls = [rank.open_transfer.remote(plan) for rank in self._ranks]
            await self._ask(calls, "open the weight transfer", plan.timeout_s)

    async def send_weights(self, timeout_s: float) -> dict[str, Any]:
        """Bring the weights to its workers; returns `version`, `bytes`, and by worker `pauses_s` and `failures`."""
        async with self._turn:
            calls = [rank.send_weights.remote() for rank in self._ranks]
            return (await self._ask(calls, "send weights", timeout_s))[0]

    @property
    def stage(self) -> int:
        """Stages begun; a new stage has a new engine and needs a new transfer."""
        return self._stages

    async def prompt_logprobs(self, token_ids: Int32Array) -> FloatArray:
        """[P-1] the learner's side of the probe."""
        async with self._turn:
            calls = [rank.prompt_logprobs.remote(token_ids) for rank in self._ranks]
            return (await self._ask(calls, "probe", self._learner.step_timeout_s))[0]

    # ------------------------------------------------------------------------------------------------------------- end

    async def close(self) -> None:
        """Give shared memory back and end the processes."""
        try:
            await self._ask([rank.close.remote() for rank in self._ranks], "close", 30.0)
        finally:
            self.kill()

    def kill(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)

    async def _ask(self, calls: list[Any], what: str, timeout_s: float) -> list[Any]:
        """The answers of `calls[rank]`. Raises LearnerDied that names the ranks that failed, and why."""
        answers = [asyncio.ensure_future(_answer(call)) for call in calls]
        try:
            _, silent = await asyncio.wait(answers, timeout=timeout_s, return_when=asyncio.FIRST_EXCEPTION)
            if silent and len(silent) < len(answers):
                # One that dies takes those with it that compute with it, and their complaint may come first.
                await asyncio.wait(silent, timeout=LAST_WORDS_S)
        finally:
            for answer in answers:
                answer.cancel()
        failed = {
            rank: error
            for rank, answer in enumerate(answers)
            if answer.done() and not answer.cancelled() and (error := answer.exception()) is not None
        }
        if failed:
            raise LearnerDied(f"the learner could not {what}: {self._causes(failed)}") from failed[min(failed)]
        late = [rank for rank, answer in enumerate(answers) if not answer.done() or answer.cancelled()]
        if late:
            raise LearnerDied(
                f"the learner did not {what} within {timeout_s:g} s (no answer from rank "
                f"{', '.join(map(str, late))}); raise that timeout or look into logs/learner-{late[0]}.log"
            )
        return [answer.result() for answer in answers]

    def _causes(self, failed: dict[int, BaseException]) -> str:
        """The dead with the end of their logs; when none is dead, those that raised."""
        dead = {rank: error for rank, error in failed.items() if isinstance(error, RayActorError)}
        verb = "died" if dead else "failed"
        return "; ".join(
            f"rank {rank} {verb}: {error}{last_lines(self._run_folder, f'learner-{rank}')}"
            for rank, error in (dead or failed).items()
        )


async def _answer(call: Any) -> Any:
    return await call


def dump_batch(batch: Batch, folder: Path) -> Path:
    """Keep a step's data for inspection: `step_000012.npz` with flat arrays and the lengths to cut them by."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{batch.step:06d}.npz"
    sequences = batch.sequences
    behaviour = [s.behaviour_logprobs for s in sequences if s.behaviour_logprobs is not None]
    np.savez_compressed(
        path,
        prompt_lengths=[len(s.prompt_ids) for s in sequences],
        response_lengths=[len(s.response_ids) for s in sequences],
        prompt_ids=np.concatenate([s.prompt_ids for s in sequences]),
        response_ids=np.concatenate([s.response_ids for s in sequences]),
        loss_weights=np.concatenate([s.loss_weights for s in sequences]),
        advantages=[float(np.mean(s.advantage)) for s in sequences],
        behaviour_logprobs=np.concatenate(behaviour) if behaviour else np.empty(0, dtype=np.float32),
    )
    return path
