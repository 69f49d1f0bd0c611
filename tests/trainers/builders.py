"""Small records for tests that need no world."""

from collections.abc import Sequence

import numpy as np

from data.records import Completion, Group, Prompt, ScoredGroup, Verdict


def scored_group(
    group_id: int,
    rewards: Sequence[float | None],
    *,
    versions: Sequence[Sequence[int]] | None = None,
    tokens: Sequence[Sequence[int]] | None = None,
    correct: Sequence[bool] | None = None,
    parts: Sequence[dict[str, float]] | None = None,
    finish: str = "stop",
) -> ScoredGroup:
    """One completion per reward (None: an infrastructure error); three tokens of version 0 each unless told."""
    versions = versions or [[0, 0, 0]] * len(rewards)
    tokens = tokens or [[10 * i + j for j in range(len(v))] for i, v in enumerate(versions)]
    prompt = Prompt(f"p{group_id}", np.array([7, 8], dtype=np.int32), f"prompt {group_id}", {"answer": "1"})
    completions = tuple(
        Completion(
            token_ids=np.array(ids, dtype=np.int32),
            logprobs=np.full(len(ids), -0.5, dtype=np.float32),
            versions=np.array(v, dtype=np.int32),
            text=f"text {i}",
            finish_reason="length" if finish == "length" else "stop",
        )
        for i, (ids, v) in enumerate(zip(tokens, versions, strict=True))
    )
    verdicts = tuple(
        Verdict("infra_error", None, False, {}, "verifier died")
        if reward is None
        else Verdict("ok", reward, correct[i] if correct else reward >= 1, parts[i] if parts else {})
        for i, reward in enumerate(rewards)
    )
    return ScoredGroup(Group(group_id, prompt, completions, "w", 0.1), verdicts, 0.0, 0.1)
