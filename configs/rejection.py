"""Rejection sampling: how many problems a model tries, and which of its completions become rows of a data set.

| data set | accept | rewards |
|---|---|---|
| right answers: hard distillation (arXiv 2501.12948, section 2.4), RFT (arXiv 2308.01825) | correct | yes |
| whatever the model knows, to keep it from forgetting | all | none needed |
"""

from typing import Literal

from pydantic import Field, PositiveInt

from configs.strict import Section


class Rejection(Section):
    """Sample, verify, keep: `rows.parquet` in the run's folder."""

    problems: PositiveInt
    """Problems that are tried: the next ones of `prompts`."""
    accept: Literal["correct", "all"] = "correct"
    """`correct`: completions to which the first reward part gave full score. `all`: every completion that was not cut
    at the length limit; `rewards` may then be left out."""
    require: dict[str, float] = Field(default_factory=dict[str, float])
    """Least scores of other reward parts, by name (a plug-in's is its `plugin`), such as `{format: 1, language: 0.95}`:
    what people can read. Others are `unfit`. Empty: the first part alone decides."""
    max_rows_per_problem: PositiveInt = 4
    """Most different completions kept per problem, in order of sample, so that easy problems do not swamp the
    others."""
    chunk_problems: PositiveInt = 512
    """Problems between two saves: what a stopped or broken run loses at most."""
