"""Rewards: which verifiers score a completion, how they are summed, and how the service runs them."""

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from configs.judge import JudgeOptions
from configs.reward_model import RewardModelOptions
from configs.sandbox import Sandbox
from configs.strict import Section

Share = Annotated[float, Field(ge=0, le=1)]


LanguageCode = Literal["en", "zh", "de", "fr", "es", "it", "pt", "nl", "ru", "ja", "ko", "ar", "hi"]


class FormatOptions(Section):
    """Of `format`."""

    prefix: str = ""
    """Template text that the prompt already ends with, such as `<think>`."""
    variant: Literal["strict", "tag_count"] = "strict"
    """`strict`: the whole template or 0; `tag_count`: a quarter for each of the four tags that occurs exactly once."""


class LanguageOptions(Section):
    """Of `language`."""

    language: LanguageCode = "en"
    """Language that the words should be of."""


class CosineLengthOptions(Section):
    """Of `cosine_length`. The defaults are the paper's 2, 1, -10, 0 and -10, brought to [0, 1] by (r + 10) / 12."""

    correct_short: Share = 1.0
    """Score of a correct completion of no length."""
    correct_long: Share = 11 / 12
    """Score that a correct completion falls to at the limit."""
    wrong_short: Share = 0.0
    """Score of a wrong completion of no length."""
    wrong_long: Share = 10 / 12
    """Score that a wrong completion rises to at the limit."""
    cut: Share = 0.0
    """Score of a completion that was cut at the limit."""


class RepetitionOptions(Section):
    """Of `repetition`."""

    ngram_words: PositiveInt = 20
    """Length of the runs that should not come twice, in words."""


class CodeOptions(Section):
    """Of `code`."""

    partial_credit: bool = False
    """The share of tests passed instead of all or nothing; every test is then run."""


class NoOptions(Section):
    """Of the rewards that have none."""


OPTIONS: dict[str, type[Section]] = {
    "exact_number": NoOptions,
    "countdown": NoOptions,
    "math": NoOptions,
    "code": CodeOptions,
    "reasoning_gym": NoOptions,
    "format": FormatOptions,
    "language": LanguageOptions,
    "cosine_length": CosineLengthOptions,
    "repetition": RepetitionOptions,
    "judge": JudgeOptions,
    "reward_model": RewardModelOptions,
}


class RewardPart(Section):
    """One reward in the weighted sum."""

    type: Literal[
        "exact_number",
        "countdown",
        "math",
        "code",
        "reasoning_gym",
        "format",
        "language",
        "cosine_length",
        "repetition",
        "judge",
        "reward_model",
        "plugin",
    ]
    """Which reward scores the completion, each in [0, 1]."""
    weight: float = 1.0
    """Factor in the weighted sum."""
    gate: bool = False
    """When this part scores 0 the whole reward is 0."""
    only: dict[str, str] = Field(default_factory=dict[str, str])
    """Which problems the part scores, by a reference column: `{kind: general}` those with this value, and
    `{kind: "!general"}` those with another or without the column. To the others it adds nothing. Empty: it scores
    all."""
    plugin: str | None = None
    """For `type: plugin`: `module:function` that takes a `rewards.Sample` and returns a score."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Arguments of the reward, such as `prefix` for `format`; each reward's are in docs/rewards.md."""


class Rewards(Section):
    """The rubric and the service that applies it."""

    parts: Annotated[tuple[RewardPart, ...], Field(min_length=1)]
    """Rewards whose weighted sum is the score. The first part that scores a problem decides correctness (pass@1)."""
    actors: PositiveInt = 1
    """Reward actors at the start, and the fewest that are kept."""
    max_actors: PositiveInt | None = None
    """Up to so many actors while groups wait for a place, back to `actors` when there is nothing to do; without it the
    number stays."""
    groups_per_actor: Annotated[int, Field(ge=1, le=64)] = 8
    """Groups that an actor scores at the same time; the others wait for a place."""
    cpus_per_actor: Annotated[float, Field(ge=0)] = 0.0
    """CPUs that Ray reserves for each reward actor."""
    node_labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the Ray nodes that may hold a reward actor: a value, `!value`, `in(a, b)` or `!in(a, b)` for each."""
    timeout_s: PositiveFloat = 30.0
    """Deadline for scoring one group, in seconds."""
    verifier_timeout_s: PositiveFloat = 5.0
    """Deadline for one verdict of a killable verifier (math, reasoning_gym), in seconds."""
    retries: NonNegativeInt = 2
    """How often an infrastructure error is tried again before the completion is masked."""
    breaker_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of infrastructure errors among the last 256 verdicts above which the run stops."""
    sandbox: Sandbox = Sandbox()
    """Where the programs of the `code` reward run."""
    overlong_buffer_tokens: NonNegativeInt = 0
    """DAPO's soft over-long penalty: length of the zone before the limit where the reward falls by up to 1; 0: off."""


def reward_options(part: RewardPart) -> Section:
    """The options of a reward of the house, with their defaults. Raises ValueError with every problem."""
    problems = list(option_problems(part))
    if problems:
        raise ValueError("; ".join(problems))
    return OPTIONS[part.type].model_validate(part.options)


def reward_models(rewards: Rewards) -> list[RewardModelOptions]:
    """Of the parts of type `reward_model`, in order; those with options that break a rule are left out."""
    sound = [part for part in rewards.parts if part.type == "reward_model" and not list(option_problems(part))]
    return [RewardModelOptions.model_validate(part.options) for part in sound]


def option_problems(part: RewardPart) -> Iterator[str]:
    """What is wrong with the options of a part, each as `name = value: rule and remedy`. A plug-in takes any."""
    if part.type == "plugin":
        return
    section = OPTIONS[part.type]
    known = list(section.model_fields)
    try:
        section.model_validate(part.options, strict=True)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            key = str(details["loc"][0])
            if details["type"] == "extra_forbidden":
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"its options: {', '.join(known) or 'none'}"
                yield f"{key} = {details['input']!r}: reward `{part.type}` has no option {key!r}; {hint}"
            else:
                yield f"{key} = {details['input']!r}: reward `{part.type}`: {details['msg']}"
