"""Problems from rows with their answer shown, for STaR's rationalization (arXiv 2203.14465, section 3.2)."""

import re
from collections.abc import Mapping
from typing import Any

from data.chat import Problem
from data.errors import DataError


def hinted_problem(problem: Problem, hint: str | None, reference: Mapping[str, Any]) -> Problem:
    """The problem as `hint` tells it: `{problem}` and the names of reference columns are filled in, nothing else.

    Of messages the last one is told anew, the others stay. Raises DataError without a `hint`.
    """
    if hint is None:
        raise DataError("these rows have no hint; set `prompts.hint`, or `star.rationalization` to null.")

    def fill(text: str) -> str:
        known = {name: str(value) for name, value in reference.items()} | {"problem": text}
        return re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], match[0]), hint)

    if isinstance(problem, str):
        return fill(problem)
    *before, last = problem
    return [*before, {**last, "content": fill(str(last["content"]))}]
