"""A package of two small tasks in place of reasoning-gym."""

import sys
from dataclasses import dataclass
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@dataclass
class Settings:
    """As the package has it: one data class for each task."""

    seed: int = 0
    size: int = 500
    largest: int = 1000


def create_dataset(task: str, **settings: Any) -> list[dict[str, Any]]:
    """All problems of one data set."""
    config = Settings(**settings)
    assert config.largest > 0, "largest must be positive"
    rng = Random(config.seed)
    a, b = (rng.randint(1, config.largest) for _ in range(2))
    question = f"{a}+{b}:" if task == "sums" else "8+9:"
    return [{"question": question, "answer": str(a + b), "metadata": {"terms": (a, b)}}]


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `import reasoning_gym` find it."""
    package: Any = ModuleType("reasoning_gym")
    package.factory = SimpleNamespace(DATASETS={"sums": (None, Settings), "same": (None, Settings)})
    package.create_dataset = create_dataset
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
