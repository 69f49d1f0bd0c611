"""STaR and its relatives: sample, verify, keep what is right, fine-tune, again. One loop, and the papers are settings.

| method | samples | hints | restart_from | temperature | kept per problem |
|---|---|---|---|---|---|
| STaR (Zelikman et al. 2022, arXiv 2203.14465) | 1, greedy there | yes | base | low | 1 |
| rejection-sampling fine-tuning, RFT (Yuan et al. 2023, arXiv 2308.01825) | 100 | no | base, 1 iteration | 0.7 | all |
| ReST-EM (Singh et al. 2023, arXiv 2312.06585) | 32 or 64 | no | base | 0.7 | at most 10 |
| expert iteration (Anthony et al. 2017, arXiv 1705.08439) | few | no | last | 1 | few |
| V-STaR (Hosseini et al. 2024, arXiv 2402.06457) | 16 | no | base | 0.7 | all |

Samples are `rollout.group_size`, temperature is `rollout.temperature`, hints are `rationalization`. docs/star.md writes
each of them out, and says where this loop departs from the paper.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from configs.prompts import Optimizer, Schedule
from configs.strict import Section


class Rationalization(Section):
    """A problem that no sample solved is asked again with its answer as a hint (STaR, arXiv 2203.14465, section 3.2).

    What comes back is verified like any other sample, and trained on without the hint.
    """

    samples: PositiveInt = 4
    """Rationales asked for with the hint, per problem."""
    min_tokens: NonNegativeInt = 0
    """Shortest completion that is accepted, in tokens with eos; shorter ones only copy the hint. 0 accepts all."""


class Tuning(Section):
    """The supervised fine-tuning of one iteration: cross-entropy on the accepted rationales."""

    epochs: PositiveFloat = 1.0
    """Passes over the iteration's rationales; the optimizer steps follow from their number."""
    sequences_per_step: PositiveInt
    """Rationales per optimizer step, over all ranks."""
    optimizer: Optimizer
    """Starts fresh in every iteration."""
    schedule: Schedule = Schedule(type="cosine", warmup_steps=10)
    """Learning rate over the steps of an iteration."""


class Star(Section):
    """The iterations: sample, verify, accept, fine-tune."""

    iterations: PositiveInt
    """Most iterations; `patience` may end the run before."""
    problems_per_iteration: PositiveInt
    """Problems that an iteration samples: the next ones of `prompts`. The number of rows makes it a pass over them."""
    rationalization: Rationalization | None = Rationalization()
    """Hints for problems that no sample solved; null: none, as in RFT, ReST-EM and expert iteration."""
    max_rationales_per_problem: PositiveInt = 4
    """Most different right rationales kept per problem, in order of sample, so that easy problems do not swamp the
    others."""
    restart_from: Literal["base", "last"] = "base"
    """Weights that a fine-tuning starts from: those after the cold start, or those of the iteration before."""
    overlap: bool = True
    """Sample the next iteration while the learner fine-tunes, with the newest weights there are."""
    patience: Annotated[int, Field(ge=0)] = 1
    """End when held-out accuracy has not risen above its best for so many iterations in a row; the result is then the
    best iteration. 0: never, and the result is the last one."""
    tuning: Tuning
    """The fine-tuning of each iteration."""
