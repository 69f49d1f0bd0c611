"""What a reward model is, in `reward_model.json` beside its weights, so that who serves it need not guess."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from data.errors import DataError

CARD_FILE = "reward_model.json"
Kind = Literal["outcome", "process", "preference"]


@dataclass(frozen=True, slots=True)
class RewardCard:
    """Written by the run that trained the model."""

    kind: Kind
    separators: tuple[str, ...]  # that its steps end with; empty unless `process`
    max_tokens: int  # longest prompt and response that it was trained for
    dtype: str  # number format that it was trained in


def write_card(folder: Path, card: RewardCard) -> None:
    """Into the folder of the weights."""
    (folder / CARD_FILE).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> RewardCard:
    """Inverse of `write_card`. Raises DataError for a folder that holds no reward model."""
    try:
        facts: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        facts["separators"] = tuple(facts["separators"])
        return RewardCard(**facts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} holds no reward model ({CARD_FILE}: {error}). Give the folder that a run of `method: "
            "reward_model` wrote, such as runs/verifier/checkpoints/final/reward_model."
        ) from error
