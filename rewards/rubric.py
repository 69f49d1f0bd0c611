"""The rubric: rewards by config, their gates and weighted sum, the over-long penalty; one Verdict per completion.

`start` before use and `close` after, in the event loop of the calls. Rewards of the house run in place (they take
microseconds) or in verifier processes; plug-ins run in a thread, so that a slow one does not hold up the others.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from configs.judge import JudgeOptions
from configs.reward_model import RewardModelOptions
from configs.rewards import RewardPart, Rewards, reward_options
from data.records import Group, Verdict
from rewards.code import CodeReward
from rewards.countdown import countdown
from rewards.format import think_answer_format
from rewards.judge import JudgeReward
from rewards.language import language_share
from rewards.length import cosine_length, overlong_penalty
from rewards.math import MathReward
from rewards.number import exact_number
from rewards.plugin import load_plugin
from rewards.reasoning_gym import ReasoningGymReward
from rewards.repetition import repetition
from rewards.reward_model import ModelReward
from rewards.sample import InfrastructureError, Reward, Sample, Score
from sandbox.configured import configured

_PURE: dict[str, Callable[..., Score]] = {
    "exact_number": exact_number,
    "countdown": countdown,
    "format": think_answer_format,
    "language": language_share,
    "repetition": repetition,
}


@dataclass(frozen=True, slots=True)
class _Part:
    name: str  # key in Verdict.parts
    weight: float
    gate: bool
    score: Reward | None = None
    score_async: Callable[[Sample], Awaitable[Score]] | None = None  # awaited instead
    score_correctness: Callable[[Sample, bool], Score] | None = None  # told whether the first part was right
    # Of the problems that it scores: reference column -> its value, or `!` and any other one.
    only: Mapping[str, str] = field(default_factory=dict[str, str])

    def scores(self, reference: Mapping[str, object]) -> bool:
        return all(
            (column in reference and str(reference[column]) == value.removeprefix("!")) != value.startswith("!")
            for column, value in self.only.items()
        )


class Rubric:
    """Scores completions. Raises ValueError for a part that cannot be built (unknown option, plug-in not found)."""

    def __init__(
        self, config: Rewards, model_reward: Callable[[RewardModelOptions], ModelReward] | None = None
    ) -> None:
        """`model_reward` finds the served model of a part of type `reward_model`."""
        self._model_reward = model_reward
        self._buffer_tokens = config.overlong_buffer_tokens
        workers = max(1, len(os.sched_getaffinity(0)) // config.actors)
        self._math: MathReward | None = None
        if any(part.type == "math" for part in config.parts):
            self._math = MathReward(config.verifier_timeout_s, workers)
        self._gym: ReasoningGymReward | None = None
        if any(part.type == "reasoning_gym" for part in config.parts):
            self._gym = ReasoningGymReward(config.verifier_timeout_s, workers)
        self._sandbox, self._actors = config.sandbox, config.actors
        self._code: list[CodeReward] = []
        self._judges: list[JudgeReward] = []
        self._most_actors = max(config.actors, config.max_actors or 0)
        self._parts: list[_Part] = []
        for part in config.parts:
            name = part.plugin if part.type == "plugin" and part.plugin else part.type
            count = sum(other.name.partition("#")[0] == name for other in self._parts)
            self._parts.append(replace(self._build(part, f"{name}#{count + 1}" if count else name), only=part.only))

    async def start(self) -> None:
        """Start what the parts need. Raises rewards.sample.InfrastructureError."""
        if self._math is not None:
            await self._math.start()
        if self._gym is not None:
            await self._gym.start()
        for part in (*self._code, *self._judges):
            await part.start()

    async def close(self) -> None:
        """End every process that `start` started."""
        if self._math is not None:
            await self._math.close()
        if self._gym is not None:
            await self._gym.close()
        for part in (*self._code, *self._judges):
            await part.close()

    async def score_group(self, group: Group, max_completion_tokens: int) -> tuple[Verdict, ...]:
        """[G] verdicts in the order of the completions, scored side by side. The limit is in tokens."""
        samples = [
            Sample(
                prompt=group.prompt.text,
                response=completion.text,
                reference=group.prompt.reference,
                response_tokens=len(completion.token_ids),
                max_completion_tokens=max_completion_tokens,
                finish_reason=completion.finish_reason,
                prompt_ids=group.prompt.token_ids,
                response_ids=completion.token_ids,
            )
            for completion in group.completions
        ]
        if all(part.score_async is None for part in self._parts):
            return tuple([await self.score_completion(sample) for sample in samples])
        return tuple(await asyncio.gather(*(self.score_completion(sample) for sample in samples)))

    async def score_completion(self, sample: Sample) -> Verdict:
        """One verdict. Never raises for what a reward does: its error becomes the outcome, with its text as detail."""
        started = time.perf_counter()
        parts: dict[str, float] = {}
        details: list[str] = []
        applied = [part for part in self._parts if part.scores(sample.reference)]
        if not applied:
            detail = "no part of the rubric scores this problem: rewards.parts all have another `only`"
            return Verdict("verifier_error", None, False, {}, detail, time.perf_counter() - started)
        for part in applied:
            try:
                if part.score is not None:
                    score = part.score(sample)
                elif part.score_correctness is not None:
                    score = part.score_correctness(sample, parts[applied[0].name] >= 1.0)
                else:
                    assert part.score_async is not None
                    score = await part.score_async(sample)
            except InfrastructureError as error:
                return Verdict(
                    "infra_error", None, False, parts, f"{part.name}: {error}", time.perf_counter() - started
                )
            except Exception as error:  # the boundary around rewards, plug-ins among them: recorded, never swallowed
                detail = f"{part.name}: {type(error).__name__}: {error}"
                return Verdict("verifier_error", None, False, parts, detail, time.perf_counter() - started)
            parts[part.name] = score.value
            details.append(f"{part.name}: {score.detail}" if score.detail else part.name)
        correct = parts[applied[0].name] >= 1.0
        total = sum(part.weight * parts[part.name] for part in applied)
        if any(part.gate and parts[part.name] == 0.0 for part in applied):
            total = 0.0
        if self._buffer_tokens:
            limit = sample.max_completion_tokens
            parts["overlong"] = overlong_penalty(sample.response_tokens, limit, self._buffer_tokens)
            total += parts["overlong"]
        return Verdict("ok", total, correct, parts, "; ".join(details), time.perf_counter() - started)

    def _build(self, part: RewardPart, name: str) -> _Part:
        if part.type == "plugin":
            if part.plugin is None:
                raise ValueError("rewards.parts: type 'plugin' needs plugin: module:function")
            reward = load_plugin(part.plugin, part.options)
            return _Part(name, part.weight, part.gate, score_async=partial(asyncio.to_thread, reward))
        section = reward_options(part)
        if isinstance(section, JudgeOptions):
            judge = JudgeReward(section, share=1 / self._most_actors)
            self._judges.append(judge)
            return _Part(name, part.weight, part.gate, score_async=judge)
        if isinstance(section, RewardModelOptions):
            if self._model_reward is None:
                raise ValueError("rewards.parts: `reward_model` needs a model that is served, and there is none here")
            return _Part(name, part.weight, part.gate, score_async=self._model_reward(section))
        options = section.model_dump()
        if part.type == "math":
            return _Part(name, part.weight, part.gate, score_async=self._math)
        if part.type == "reasoning_gym":
            return _Part(name, part.weight, part.gate, score_async=self._gym)
        if part.type == "code":
            workers = self._sandbox.workers or max(1, len(os.sched_getaffinity(0)) // self._actors)
            code = CodeReward(configured(self._sandbox.model_copy(update={"workers": workers})), **options)
            self._code.append(code)
            return _Part(name, part.weight, part.gate, score_async=code)
        if part.type == "cosine_length":
            if not self._parts:
                raise ValueError("rewards.parts: cosine_length cannot be the first part, which decides correctness")
            return _Part(name, part.weight, part.gate, score_correctness=partial(cosine_length, **options))
        return _Part(name, part.weight, part.gate, score=partial(_PURE[part.type], **options))
