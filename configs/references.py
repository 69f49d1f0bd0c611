"""References between the stages of a pipeline: `${stages.NAME.OUTPUT}` stands for a file or folder that a stage leaves.

Pure text: a tree of plain values in, the same tree with paths out. What each method leaves is in the table below.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

REFERENCE = re.compile(r"\$\{(?P<inner>[^}]*)\}")
_INNER = re.compile(r"stages\.(?P<stage>[^.\s]+)\.(?P<output>[^.\s]+)")

# Output -> its name in the stage's folder, and what it is. The models are links into a checkpoint.
OUTPUT_FILES = {
    "policy": "policy",
    "rows": "rows.parquet",
    "reward_model": "reward_model",
    "step_labels": "step_labels",
}
# Method -> what a finished stage of it leaves for later ones.
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "grpo": ("policy",),
    "sft": ("policy",),
    "star": ("policy",),
    "rejection": ("rows",),
    "distill": ("policy",),
    "reward_model": ("reward_model",),
    "step_labels": ("step_labels",),
}


@dataclass(frozen=True, slots=True)
class Link:
    """One reference, resolved: the config key `place` of a stage is an output of an earlier one."""

    place: str  # dotted key in the stage's config, such as `policy.path`
    stage: str
    output: str
    path: str  # where the output will be


@dataclass(frozen=True, slots=True)
class Earlier:
    """A stage that may be referred to."""

    method: str
    folder: str


class Resolver:
    """Replaces references by paths and keeps a list of what was replaced, and of what was wrong."""

    def __init__(self, earlier: Mapping[str, Earlier], every_stage: Sequence[str], itself: str) -> None:
        self.links: list[Link] = []
        self.problems: list[str] = []
        self._earlier, self._every_stage, self._itself = earlier, every_stage, itself

    def resolve(self, value: Any, place: str = "") -> Any:
        """The value with every reference in its texts replaced."""
        if isinstance(value, str):
            return REFERENCE.sub(self._replacement(place), value)
        if isinstance(value, dict):
            items = cast(dict[str, Any], value).items()
            return {key: self.resolve(inner, f"{place}.{key}" if place else str(key)) for key, inner in items}
        if isinstance(value, list):
            return [self.resolve(inner, f"{place}.{n}") for n, inner in enumerate(cast(list[Any], value))]
        return value

    def _replacement(self, place: str) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            problem = self._problem(found)
            if problem is not None:
                self.problems.append(f"{place} = {found[0]}: {problem}")
                return found[0]
            inner = _INNER.fullmatch(found["inner"])
            assert inner is not None
            stage, output = inner["stage"], inner["output"]
            path = f"{self._earlier[stage].folder}/{OUTPUT_FILES[output]}"
            self.links.append(Link(place, stage, output, path))
            return path

        return replace

    def _problem(self, found: re.Match[str]) -> str | None:
        inner = _INNER.fullmatch(found["inner"])
        if inner is None:
            return "a reference is written `${stages.NAME.OUTPUT}`, such as `${stages.sft.policy}`"
        stage, output = inner["stage"], inner["output"]
        if stage == self._itself:
            return "a stage cannot use its own output; name an earlier stage"
        if stage not in self._every_stage:
            names = ", ".join(f"`{name}`" for name in self._every_stage)
            return f"there is no stage `{stage}`; {_close(stage, self._every_stage) or f'the stages are {names}'}"
        if stage not in self._earlier:
            return f"the stage `{stage}` comes later; move it before this one, or refer to an earlier stage"
        method = self._earlier[stage].method
        has = OUTPUTS.get(method, ())
        if output not in has:
            listed = ", ".join(f"`{name}`" for name in has) or "nothing"
            close = _close(output, has)
            return f"`method: {method}` leaves {listed}, not `{output}`{'; ' + close if close else ''}"
        return None


def _close(word: str, choices: Sequence[str]) -> str | None:
    found = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean `{found[0]}`?" if found else None
