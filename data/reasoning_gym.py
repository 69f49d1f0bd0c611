"""Problems of the package `reasoning-gym` (arXiv 2505.24760): one task by name, endless by its seeds.

Contract: a problem is held out by a hash of its question, one in four, whatever the seed and the options. So no
held-out question is ever trained on, which ranges of seeds could not promise: small tasks ask the same again and again.

The package is an extra of pyproject.toml; nothing else imports it but the process that scores.
"""

import difflib
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from random import Random
from typing import Any, cast

from configs.prompts import ReasoningGymPrompts, Split
from data.errors import DataError

INSTALL = "`pip install -e '.[reasoning-gym]'` in rayzero's folder"
MAX_SEED = 2**31
MAX_DRAWS = 300  # of one problem; a task with questions on both sides of the split never needs as many
_OURS = ("seed", "size")
_TUPLE = "__tuple__"


@dataclass(frozen=True, slots=True)
class GymProblem:
    """One question with what its scorer needs."""

    task: str
    seed: int
    question: str
    reference: dict[str, Any]

    @property
    def prompt_id(self) -> str:
        """Name of the problem in every run."""
        return f"reasoning_gym:{self.task}:{blake2b(self.question.encode(), digest_size=8).hexdigest()}"


class Gym:
    """A task with its options. Raises DataError without the package, for an unknown task or option, a bad value."""

    def __init__(self, config: ReasoningGymPrompts) -> None:
        self._config = config
        self._package = load_package()
        known: dict[str, tuple[Any, Any]] = self._package.factory.DATASETS
        if config.task not in known or config.task == "composite":
            raise DataError(
                f"task {config.task!r}: reasoning-gym has no such task; {_did_you_mean(config.task, known)}"
            )
        names = [field.name for field in fields(known[config.task][1]) if field.name not in _OURS]
        for option in config.options:
            if option in _OURS:
                raise DataError(f"options.{option}: it is drawn for every problem; remove the option.")
            if option not in names:
                raise DataError(
                    f"options.{option}: the task {config.task!r} has no such option; {_did_you_mean(option, names)}"
                )
        self.draw(Random(0), config.split)

    def draw(self, rng: Random, split: Split) -> GymProblem:
        """A problem of one side of the split. Raises DataError when none is found."""
        for _ in range(MAX_DRAWS):
            problem = self._generate(rng.randrange(MAX_SEED))
            if side(problem.question) == split:
                return problem
        raise DataError(
            f"task {self._config.task!r}: {MAX_DRAWS} draws gave no question on the side {split!r} of the split, so "
            "these options leave hardly any different questions; make the problems larger."
        )

    def _generate(self, seed: int) -> GymProblem:
        config = self._config
        try:
            # A data set of one problem for each seed: some tasks prepare all that their size says at once.
            entry = self._package.create_dataset(config.task, seed=seed, size=1, **config.options)[0]
        except (AssertionError, TypeError, ValueError, IndexError, KeyError) as error:
            raise DataError(
                f"task {config.task!r} with the options {config.options} gives no problem: "
                f"{type(error).__name__}: {error}. Change the options."
            ) from error
        reference = {
            "task": config.task,
            "options": dict(config.options),
            "entry": write_entry(entry),
            "answer": "" if entry["answer"] is None else str(entry["answer"]),
        }
        return GymProblem(config.task, seed, str(entry["question"]), reference)


def side(question: str) -> Split:
    """The side of the split that a question is on."""
    digest = blake2b(question.encode(), digest_size=8).digest()
    return "held_out" if int.from_bytes(digest, "big") % 4 == 0 else "train"


def load_package() -> Any:
    """The package. Raises DataError that says how to install it."""
    try:
        return importlib.import_module("reasoning_gym")
    except ModuleNotFoundError as error:
        raise DataError(
            f"the package `reasoning-gym` or a part of it is missing ({error.name}): problems of type `reasoning_gym` "
            f"come from it. Install it with {INSTALL}."
        ) from error


def write_entry(entry: dict[str, Any]) -> str:
    """A problem of the package as JSON text, its tuples marked: some scorers tell them from lists."""
    return json.dumps(_marked(entry), default=str)  # fractions and the like, which the metadata has for show


def read_entry(text: str) -> dict[str, Any]:
    """What `write_entry` wrote. Raises ValueError."""
    return json.loads(text, object_hook=lambda found: tuple(found[_TUPLE]) if _TUPLE in found else found)


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(inner) for key, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, tuple):
        return {_TUPLE: [_marked(inner) for inner in cast("tuple[Any, ...]", value)]}
    if isinstance(value, list):
        return [_marked(inner) for inner in cast("list[Any]", value)]
    return value


def _did_you_mean(name: str, known: "Sequence[str] | dict[str, Any]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}."
