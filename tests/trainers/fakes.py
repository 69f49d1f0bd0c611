"""An in-memory world for the loops: a softmax bandit that really learns, a fleet that samples it, and a learner.

The policy is one logit per token of a small vocabulary; every token of a completion is drawn from it. The reward of a
completion is the share of its tokens that equal the prompt's number, 0 or 1. All maths is float64.

Legend: V vocabulary, T tokens of a completion.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from configs.run import GrpoRun
from data.records import (
    Batch,
    Completion,
    Group,
    GroupRequest,
    Prompt,
    ScoredGroup,
    StepReport,
    SyncReport,
    Verdict,
)
from trainers.grpo import GrpoLoop
from trainers.ports import RewardFailed, RolloutFailed

VOCABULARY = 5
LENGTH = 4
LEARNING_RATE = 10.0


def make_run(**changes: Any) -> GrpoRun:
    """A small run; `changes` are dotted names with `__`, such as algorithm__staleness__max_staleness=0."""
    raw: dict[str, Any] = {
        "method": "grpo",
        "name": "test",
        "policy": {"type": "scratch", "vocabulary": "characters"},
        "prompts": {"type": "addition"},
        "prompts_per_step": 3,
        "steps": 5,
        "optimizer": {"type": "adamw", "learning_rate": 1.0},
        "rollout": {"group_size": 4, "max_completion_tokens": LENGTH},
        "rewards": {"parts": [{"type": "exact_number"}]},
        "algorithm": {"staleness": {"max_staleness": 0}, "filters": {}},
        "evaluation": None,
    }
    for path, value in changes.items():
        section, keys = raw, path.split("__")
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
    return TypeAdapter(GrpoRun).validate_python(raw)


def make_prompt(number: int) -> Prompt:
    return Prompt(f"p{number}", np.array([1, number % 2], dtype=np.int32), f"say {number % 2}", {"n": number % 2})


class CountingPrompts:
    """Prompt k asks for token k mod 2."""

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> Prompt:
        self.next += 1
        return make_prompt(self.next - 1)

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def restore(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


def log_softmax(logits_V: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted_V = logits_V - logits_V.max()
    return shifted_V - np.log(np.exp(shifted_V).sum())


def sample_tokens(logits_V: NDArray[np.float64], seed: int, *, varied_lengths: bool = False) -> NDArray[np.int32]:
    """LENGTH tokens, or with `varied_lengths` 2 ... LENGTH of them."""
    length = 2 + seed % (LENGTH - 1) if varied_lengths else LENGTH
    generator = np.random.default_rng(seed)
    return generator.choice(VOCABULARY, size=length, p=np.exp(log_softmax(logits_V))).astype(np.int32)


def reward_of(prompt: Prompt, token_ids: NDArray[np.int32]) -> float:
    return float(np.mean(token_ids == prompt.reference["n"]))


class World:
    """Learner, publisher, fleet, rewards, tracker and store in one, with switches for everything that can go wrong."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.logits_V = np.zeros(VOCABULARY)  # of the learner
        self.version = 0
        self.published: dict[int, NDArray[np.float64]] = {}
        self.serving = 0  # version that the workers hold
        self.begun = 0
        self.losses: list[float] = []
        self.batches: list[Batch] = []
        self.trained_at: list[int] = []  # learner version at each batch
        self.open: dict[int, GroupRequest] = {}
        self.most_open = 0
        self.generated: list[int] = []
        self.cancelled: list[int] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.rows: list[Mapping[str, Any]] = []
        self.written: list[tuple[int, str, list[int], dict[int, Any]]] = []
        # switches
        self.gates: dict[int, asyncio.Event] = {}  # group_id -> generation ends when it is set
        self.slow_tokens: dict[int, asyncio.Event] = {}  # the same, but the last token is sampled after the gate
        self.varied_lengths = False
        self.delay_s = 0.0  # upper bound of a random delay
        self.rollout_failure_share = 0.0
        self.reward_failure_share = 0.0
        self.infra_share = 0.0
        self.skip_steps: set[int] = set()
        self.break_at_step: int | None = None
        self.constant_reward: set[int] = set()  # group ids
        self.spread_rewards = False  # no two completions of the other groups have the same reward
        self.train_gate: asyncio.Event | None = None

    # ---- learner ----

    async def begin(self, optimizer: object) -> None:
        self.begun += 1

    async def train(self, batch: Batch) -> StepReport:
        if self.train_gate is not None:
            await self.train_gate.wait()
        await asyncio.sleep(self.random.uniform(0, self.delay_s))
        if self.break_at_step == batch.step:
            raise RuntimeError("learner rank 1 died: out of memory")
        self.batches.append(batch)
        self.trained_at.append(self.version)
        if batch.step in self.skip_steps:
            return StepReport(self.version, True, {"train/loss": float("nan")}, 0.0)
        loss, gradient_V = policy_gradient(self.logits_V, batch)
        self.logits_V = self.logits_V - LEARNING_RATE * batch.learning_rate_share * gradient_V
        self.version += 1
        self.losses.append(loss)
        return StepReport(self.version, False, {"train/loss": loss}, 0.0)

    async def save(self, folder: Path, *, export: bool) -> None:
        np.save(folder / "logits.npy", self.logits_V)
        (folder / "version").write_text(str(self.version))

    async def load(self, folder: Path) -> None:
        self.logits_V = np.load(folder / "logits.npy")
        self.version = int((folder / "version").read_text())

    # ---- publisher ----

    async def publish(self, version: int) -> SyncReport:
        assert version == self.version
        await asyncio.sleep(self.random.uniform(0, self.delay_s))
        self.published[version] = self.logits_V.copy()
        self.serving = version
        return SyncReport(version, 1, 0.001, 0.0005, 8 * VOCABULARY, None)

    # ---- fleet ----

    async def generate(self, request: GroupRequest) -> Group:
        self.open[request.group_id] = request
        self.most_open = max(self.most_open, sum(i >= 0 for i in self.open))
        try:
            return await self._generate(request)
        except asyncio.CancelledError:
            self.cancelled.append(request.group_id)
            raise
        finally:
            del self.open[request.group_id]

    async def _generate(self, request: GroupRequest) -> Group:
        first = self.serving
        seeds = [request.seed + i for i in range(request.group_size)]
        tokens = [sample_tokens(self.published[first], seed, varied_lengths=self.varied_lengths) for seed in seeds]
        versions_T = np.full(LENGTH, first, dtype=np.int32)
        if self.delay_s and request.group_id >= 0:
            await asyncio.sleep(self.random.uniform(0, self.delay_s))
        if request.group_id in self.gates:
            await self.gates[request.group_id].wait()
        if request.group_id in self.slow_tokens:
            await self.slow_tokens[request.group_id].wait()
            versions_T[-1] = self.serving
        if self.random.random() < self.rollout_failure_share:
            raise RolloutFailed("worker 0 died three times")
        self.generated.append(request.group_id)
        completions = tuple(
            Completion(
                token_ids=ids_T,
                logprobs=np.array(
                    [log_softmax(self.published[int(v)])[i] for i, v in zip(ids_T, versions_T, strict=False)],
                    dtype=np.float32,
                ),
                versions=versions_T[: len(ids_T)],
                text=" ".join(map(str, ids_T)),
                finish_reason="stop",
            )
            for ids_T in tokens
        )
        return Group(request.group_id, request.prompt, completions, "worker-0", 0.001)

    # ---- rewards ----

    async def score(self, group: Group) -> ScoredGroup:
        if self.delay_s:
            await asyncio.sleep(self.random.uniform(0, self.delay_s / 4))
        if self.random.random() < self.reward_failure_share:
            raise RewardFailed("the reward actor did not answer in 30 s")
        return ScoredGroup(group, tuple(self._verdict(group, i) for i in range(len(group.completions))), 0.0, 0.001)

    def _verdict(self, group: Group, sample: int) -> Verdict:
        if self.random.random() < self.infra_share:
            return Verdict("infra_error", None, False, {}, "verifier process was killed")
        score = reward_of(group.prompt, group.completions[sample].token_ids)
        if self.spread_rewards:
            score = sample / 16
        if group.group_id in self.constant_reward:
            score = 0.5
        return Verdict("ok", score, score == 1.0, {"number": score, "format": 1.0})

    # ---- tracker and store ----

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows += rows

    def write(self, step: int, groups: Sequence[ScoredGroup], *, advantages: Mapping[int, Any], kind: str) -> None:
        self.written.append((step, kind, [g.group.group_id for g in groups], dict(advantages)))

    # ---- views ----

    def train_metrics(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.metrics if name in metrics]

    def groups_of_steps(self) -> list[list[int]]:
        """Group ids with advantages, per training write."""
        return [[i for i in ids if adv[i] is not None] for _, kind, ids, adv in self.written if kind == "train"]


def policy_gradient(logits_V: NDArray[np.float64], batch: Batch) -> tuple[float, NDArray[np.float64]]:
    """Loss (sum of -weight * advantage * ratio) and its gradient."""
    logprobs_V = log_softmax(logits_V)
    loss, gradient_V = 0.0, np.zeros(VOCABULARY)
    for sequence in batch.sequences:
        assert sequence.behaviour_logprobs is not None
        for token, weight, old in zip(
            sequence.response_ids, sequence.loss_weights, sequence.behaviour_logprobs, strict=True
        ):
            ratio = np.exp(logprobs_V[token] - np.float64(old))
            factor = -float(weight) * sequence.advantage * ratio
            loss += factor
            gradient_V += factor * (np.eye(VOCABULARY)[token] - np.exp(logprobs_V))
    return float(loss), gradient_V


def make_loop(world: World, run: GrpoRun, folder: Path, **changes: Any) -> GrpoLoop:
    ports: dict[str, Any] = {
        "prompts": CountingPrompts(),
        "fleet": world,
        "rewards": world,
        "learner": world,
        "publisher": world,
        "tracker": world,
        "store": world,
        "checkpoint_folder": folder / "checkpoints",
    }
    return GrpoLoop(run, **(ports | changes))
