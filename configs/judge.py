"""Options of the reward `judge`: a model that scores by a rubric."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt, ValidationInfo

from configs.endpoint import Endpoint


def _check_temperature(temperature: float, info: ValidationInfo) -> float:
    votes = info.data.get("votes", 1)
    if votes > 1 and temperature == 0:
        raise ValueError(f"at temperature 0 all {votes} votes are one and the same; set it above 0, or votes to 1")
    return temperature


class JudgeOptions(Endpoint):
    """Of `judge`."""

    rubric: Annotated[str, Field(min_length=1)]
    """What a good response is, in words: for the judge to read."""
    top_score: Annotated[int, Field(ge=1, le=100)] = 1
    """The judge gives a whole number from 0 to this, which is scaled to [0, 1]; 1: yes or no."""
    votes: Annotated[int, Field(ge=1, le=31)] = 1
    """How often the judge is asked about one response; the most frequent score counts, of equally frequent ones the
    lowest."""
    temperature: Annotated[float, Field(ge=0, le=2, validate_default=True), AfterValidator(_check_temperature)] = 0.0
    """Of the judge."""
    max_verdict_tokens: PositiveInt = 1024
    """Most tokens of one vote, its reasoning included."""
    reference_key: str | None = None
    """Key of the problem's reference that the judge is shown, such as `answer`; None: it is shown none."""
    max_response_characters: Annotated[int, Field(ge=100)] = 20_000
    """Of a longer response the judge sees the beginning and the end, with a note of what is left out."""
