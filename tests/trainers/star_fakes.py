"""An in-memory world for STaR: a policy that can solve the classes of problems whose answers it was trained on.

Problem n is the prompt [n] and belongs to class n mod CLASSES; its answer is 100 + n. A completion is [filler, answer,
EOS]. The policy answers the classes that it knows rightly and the others wrongly, with a hint (HINT in the prompt) as
the world's `hinted_answer` says. Training on a right answer makes it know the class; `begin(model=...)` forgets.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from configs.run import StarRun
from data.records import Batch, Completion, Group, GroupRequest, Prompt, ScoredGroup, StepReport, SyncReport, Verdict
from trainers.ports import RolloutFailed
from trainers.star import StarLoop

CLASSES = 4
HINT, EOS = 9999, 0


def make_run(**changes: Any) -> StarRun:
    """A small run; `changes` are dotted names with `__`, such as star__overlap=False."""
    raw: dict[str, Any] = {
        "method": "star",
        "name": "test",
        "policy": {"type": "scratch", "vocabulary": "characters"},
        "prompts": {"type": "addition"},
        "star": {
            "iterations": 3,
            "problems_per_iteration": 8,
            "max_rationales_per_problem": 2,
            "rationalization": {"samples": 2},
            "overlap": False,
            "patience": 0,
            "tuning": {"sequences_per_step": 4, "optimizer": {"type": "adamw", "learning_rate": 1.0}},
        },
        "rollout": {"group_size": 4, "max_completion_tokens": 4},
        "rewards": {"parts": [{"type": "exact_number"}]},
        "evaluation": {"prompts": {"type": "addition", "split": "held_out"}, "problems": CLASSES},
    }
    for path, value in changes.items():
        section, keys = raw, path.split("__")
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
    return TypeAdapter(StarRun).validate_python(raw)


def make_problem(number: int) -> Prompt:
    return Prompt(f"p{number}", np.array([number], dtype=np.int32), f"p{number}", {"answer": 100 + number})


class CountingProblems:
    """Problems 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> Prompt:
        self.next += 1
        return make_problem(self.next - 1)

    def hinted(self, prompt: Prompt) -> Prompt:
        ids = np.append(prompt.token_ids, np.int32(HINT)).astype(np.int32)
        return Prompt(prompt.prompt_id, ids, f"{prompt.text}({prompt.reference['answer']})", prompt.reference)

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]


class StarWorld:
    """Learner, publisher, fleet, rewards, tracker and store in one."""

    def __init__(self, knows: set[int] | None = None) -> None:
        self.knows = set(knows or ())  # of the learner
        self.version = 0
        self.serving: tuple[int, frozenset[int]] = (0, frozenset())  # version and classes of the engines
        self.begun: list[tuple[Path | None, int]] = []
        self.batches: list[Batch] = []
        self.requests: list[GroupRequest] = []
        self.served_version: dict[int, int] = {}  # group id -> version that sampled it
        self.cancelled: list[int] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.written: list[tuple[int, str, dict[int, Any]]] = []
        # switches
        self.hinted_answer = lambda number, sample: 100 + number  # what the policy answers when it sees the hint
        self.fillers = lambda number, sample: 50 + sample  # the way to the answer; equal ones are duplicates
        self.learns_in: set[int] | None = None  # fine-tunings, from 1, that teach anything; None: all
        self.failing: set[int] = set()  # group ids
        self.unscored: set[int] = set()  # group ids whose completions get no verdict
        self.skip_steps = False
        self.train_gate: asyncio.Event | None = None
        self.sample_gate: asyncio.Event | None = None

    # ---- learner ----

    async def begin(self, optimizer: object, *, model: Path | None = None, version: int = 0) -> None:
        self.begun.append((model, version))
        self.version = version
        if model is not None:
            self.knows = set(json.loads((model / "config.json").read_text()))

    async def train(self, batch: Batch) -> StepReport:
        if self.train_gate is not None:
            await self.train_gate.wait()
        self.batches.append(batch)
        if self.skip_steps:
            return StepReport(self.version, True, {"train/loss": float("nan")}, 0.0)
        learns = self.learns_in is None or sum(model is not None for model, _ in self.begun) in self.learns_in
        for sequence in batch.sequences:
            number, answer = int(sequence.prompt_ids[0]), int(sequence.response_ids[-2])
            if learns and answer == 100 + number:
                self.knows.add(number % CLASSES)
        self.version += 1
        return StepReport(self.version, False, {"train/loss": 1.0 / self.version}, 0.0)

    async def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(sorted(self.knows)))

    async def save(self, folder: Path, *, export: bool) -> None:
        (folder / "weights.json").write_text(json.dumps([self.version, sorted(self.knows)]))

    async def load(self, folder: Path) -> None:
        self.version, knows = json.loads((folder / "weights.json").read_text())
        self.knows = set(knows)

    # ---- publisher ----

    async def publish(self, version: int) -> SyncReport:
        assert version == self.version
        self.serving = version, frozenset(self.knows)
        return SyncReport(version, 1, 0.001, 0.0005, 8, None)

    # ---- fleet ----

    async def generate(self, request: GroupRequest) -> Group:
        self.requests.append(request)
        if request.group_id >= 0 and self.sample_gate is not None:
            try:
                await self.sample_gate.wait()
            except asyncio.CancelledError:
                self.cancelled.append(request.group_id)
                raise
        await asyncio.sleep(0)
        if request.group_id in self.failing:
            raise RolloutFailed("worker 0 died three times")
        version, knows = self.serving
        self.served_version[request.group_id] = version
        number, hinted = int(request.prompt.token_ids[0]), HINT in request.prompt.token_ids
        completions: list[Completion] = []
        for sample in range(request.group_size):
            right = 100 + number
            answer = self.hinted_answer(number, sample) if hinted else right if number % CLASSES in knows else 7
            ids = np.array([self.fillers(number, sample), answer, EOS], dtype=np.int32)
            text = f"the hint says {right}; {answer}" if hinted else str(answer)
            versions = np.full(3, version, dtype=np.int32)
            completions.append(Completion(ids, np.zeros(3, dtype=np.float32), versions, text, "stop"))
        return Group(request.group_id, request.prompt, tuple(completions), "worker-0", 0.001)

    # ---- rewards ----

    async def score(self, group: Group) -> ScoredGroup:
        right = group.prompt.reference["answer"]
        verdicts = [
            Verdict("infra_error", None, False, {}, "killed")
            if group.group_id in self.unscored
            else Verdict("ok", float(c.token_ids[-2] == right), bool(c.token_ids[-2] == right), {}, "")
            for c in group.completions
        ]
        return ScoredGroup(group, tuple(verdicts), 0.0, 0.001)

    # ---- tracker and store ----

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        pass

    def write(self, step: int, groups: Sequence[ScoredGroup], *, advantages: Mapping[int, Any], kind: str) -> None:
        self.written.append((step, kind, {g.group.group_id: advantages.get(g.group.group_id) for g in groups}))

    # ---- views ----

    def trained_pairs(self) -> set[tuple[int, ...]]:
        """(prompt tokens, then response tokens) of everything trained on."""
        return {(*s.prompt_ids.tolist(), *s.response_ids.tolist()) for batch in self.batches for s in batch.sequences}

    def training_ids(self) -> list[int]:
        return [request.group_id for request in self.requests if request.group_id >= 0]

    def logged(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.metrics if name in metrics]


def make_loop(world: StarWorld, run: StarRun, folder: Path, **changes: Any) -> StarLoop:
    parts: dict[str, Any] = {
        "prompts": CountingProblems(),
        "fleet": world,
        "rewards": world,
        "learner": world,
        "publisher": world,
        "tracker": world,
        "store": world,
        "folder": folder,
        "base": folder / "base_policy",
        "evaluation_prompts": [make_problem(1000 + i) for i in range(CLASSES)],
    }
    return StarLoop(run, **(parts | changes))
