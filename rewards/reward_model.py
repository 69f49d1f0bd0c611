"""A trained model as a reward: the scores of a completion's steps, brought to one number.

The model itself is served elsewhere (actors/reward_model.py); here it is a port, which test-time search uses as well.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from data.records import Int32Array
from rewards.sample import Sample, Score


class StepScorer(Protocol):
    """A reward model that is served."""

    async def score(self, prompt_ids: Int32Array, response_ids: Int32Array) -> list[float]:
        """Probability, in [0, 1], that the solution is right as far as each of its steps; of a model of whole
        solutions one number. The ids are those that were sampled; [] without a response.

        Raises InfrastructureError when the model could not be asked.
        """
        ...


class ModelReward:
    """Scores by token ids. A response of no tokens scores 0."""

    def __init__(self, scorer: StepScorer, aggregate: Callable[[Sequence[float]], float]) -> None:
        self._scorer, self._aggregate = scorer, aggregate

    async def __call__(self, sample: Sample) -> Score:
        """Raises ValueError for a sample without token ids, and what the port raises."""
        if sample.prompt_ids is None or sample.response_ids is None:
            raise ValueError("the reward model scores token ids, and this sample has text alone")
        if not len(sample.response_ids):
            return Score(0.0, "is empty")
        steps = await self._scorer.score(sample.prompt_ids, sample.response_ids)
        value = self._aggregate(steps)
        shown = " ".join(f"{step:.2f}" for step in steps[:12]) + (" ..." if len(steps) > 12 else "")
        return Score(value, f"{value:.3f} of steps {shown}" if len(steps) > 1 else f"{value:.3f}")
