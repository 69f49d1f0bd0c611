"""The one error of this room. Its message lists every problem found, one per line, and is meant for the user."""

from collections.abc import Sequence


class ConfigError(ValueError):
    """A config that cannot be run. Each problem names the key, its value, the rule and the remedy."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, tuple[str, ...]]]:
        return ConfigError, (self.source, self.problems)
