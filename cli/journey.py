"""`rayzero journey`: from the samples of a run, traces that go wrong and turn back, and the shortcuts beside them.

Every journey is verified by the run's own rewards before it is written; no engine and no Ray is needed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.prepare import load_tokenizer
from configs.load import load_run
from configs.run import AnyRun
from data.chat import encode_response_part
from data.errors import DataError
from data.journey import Journey, journeys_of
from data.journey_rows import TraceRow, sampled_groups, write_rows
from data.records import Completion, Group, ScoredGroup
from data.thinking import ThoughtTags
from rewards.rubric import Rubric

JOURNEYS, SHORTCUTS = "journey.parquet", "shortcut.parquet"


@dataclass(frozen=True, slots=True)
class JourneySummary:
    """What came of a run's samples."""

    problems: int  # with samples
    mixed: int  # of these with a journey
    journeys: int  # written
    refused: int  # whose answer the rewards did not call right
    wrong_share: float  # tokens of wrong thoughts over all tokens of the journeys

    def __str__(self) -> str:
        return (
            f"{self.problems} groups, {self.mixed} with a wrong and a right sample that fit, {self.journeys} journeys "
            f"({self.wrong_share:.1%} of their tokens are wrong thoughts), {self.refused} refused by the rewards"
        )


def write_journeys(run_folder: Path, out: Path, *, transition: str, pairs: int) -> JourneySummary:
    """Write both files. Raises DataError and ConfigError for a run that has nothing to make journeys of."""
    run = load_run(run_folder / "config.yaml", [], check_paths=False)
    if run.rewards is None or run.rollout is None:
        raise DataError(f"{run_folder} has no rewards and no samples; give a run that samples, such as method: star.")
    tokenizer = load_tokenizer(run)
    tags = ThoughtTags.of(tokenizer)
    if tags.open_id is None or tags.close_id is None:
        raise DataError(
            "the policy's tokenizer has no tokens of its own for <think> and </think>, so a thought has no exact end; "
            "use a policy whose vocabulary has them."
        )
    transition_ids = encode_response_part(tokenizer, transition)
    limit = run.policy.max_model_len
    found: list[tuple[ScoredGroup, list[Journey]]] = [
        (group, journeys_of(group, tags, transition_ids, pairs=pairs, max_tokens=limit))
        for group in sampled_groups(run_folder)
    ]
    mixed = [(group, journeys) for group, journeys in found if journeys]
    verified = asyncio.run(_verified(run, tokenizer, mixed))
    if not verified:
        raise DataError(
            f"none of the {len(found)} groups of {run_folder} has a wrong and a right sample with one whole thought "
            f"each that fit into policy.max_model_len = {limit} together; sample more (rollout.group_size), or "
            "problems that the policy solves now and then."
        )
    write_rows(out / JOURNEYS, [TraceRow(g.group.prompt, text, j.journey) for g, j, text in verified])
    shortcuts = [(g.group.prompt, j.shortcut) for g, j, _ in verified]
    write_rows(out / SHORTCUTS, [TraceRow(prompt, _text(tokenizer, ids), ids) for prompt, ids in shortcuts])
    tokens = sum(len(j.journey) for _, j, _ in verified)
    return JourneySummary(
        problems=len(found),
        mixed=len(mixed),
        journeys=len(verified),
        refused=sum(len(journeys) for _, journeys in mixed) - len(verified),
        wrong_share=sum(j.wrong_tokens for _, j, _ in verified) / tokens,
    )


async def _verified(
    run: AnyRun, tokenizer: Any, mixed: Sequence[tuple[ScoredGroup, list[Journey]]]
) -> list[tuple[ScoredGroup, Journey, str]]:
    """The journeys whose text the rewards call right, each with it. Raises what keeps the rubric from starting."""
    assert run.rewards is not None
    assert run.rollout is not None
    rubric = Rubric(run.rewards)
    kept: list[tuple[ScoredGroup, Journey, str]] = []
    try:
        await rubric.start()
        for group, journeys in mixed:
            texts = [_text(tokenizer, journey.journey) for journey in journeys]
            made = tuple(_completion(journey, text) for journey, text in zip(journeys, texts, strict=True))
            asked = Group(group.group.group_id, group.group.prompt, made, "journey", 0.0)
            verdicts = await rubric.score_group(asked, run.rollout.max_completion_tokens)
            kept += [(group, j, t) for j, t, v in zip(journeys, texts, verdicts, strict=True) if v.correct]
    finally:
        await rubric.close()
    return kept


def _completion(journey: Journey, text: str) -> Completion:
    tokens = len(journey.journey)
    unknown = np.full(tokens, np.nan, dtype=np.float32)
    return Completion(journey.journey, unknown, np.full(tokens, -1, dtype=np.int32), text, "stop")


def _text(tokenizer: Any, token_ids: Any) -> str:
    return str(tokenizer.decode(token_ids.tolist(), skip_special_tokens=True))
