"""What a loop needs to go on where it stopped, beside what the learner saves: `loop.json` and the buffered groups.

Scored groups are stored with all their tokens. Groups in flight are stored as requests: they are sampled again under
the same group id, so that no prompt is lost and none is trained on twice. Seeds follow from (run seed, group id), so
there is no random state to keep.
"""

# The store's tables are pyarrow's, which ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.records import GroupRequest, Prompt, Sampling, ScoredGroup
from data.store import RolloutStore, read_rollouts, to_scored_groups

_STATE_FILE = "loop.json"
_BUFFER_FOLDER = "buffer"


@dataclass(slots=True)
class Totals:
    """Sums since the start of the run, over restarts too."""

    samples: int = 0  # completions that came back, scored
    generated_tokens: int = 0
    loop_s: float = 0.0  # from the first admission to the last update, without the evaluations before and after
    staleness_max: int = 0  # over trained tokens
    syncs: int = 0
    sync_s: float = 0.0
    skipped_steps: int = 0


@dataclass(frozen=True, slots=True)
class LoopState:
    """A consistent cut of the loop between two steps."""

    steps_done: int
    version: int  # of the learner
    next_group_id: int
    refills: int  # groups sampled in place of dropped ones for the step that comes next
    prompt_cursor: dict[str, Any]
    books: dict[str, int]
    in_flight: tuple[GroupRequest, ...]
    ready: tuple[ScoredGroup, ...]
    totals: Totals = field(default_factory=Totals)
    evaluations: tuple[dict[str, float], ...] = ()  # metrics of each evaluation, with "step"
    tracker_run_id: str | None = None


def write_state(folder: Path, state: LoopState) -> None:
    """Write into an existing folder."""
    facts = {
        "steps_done": state.steps_done,
        "version": state.version,
        "next_group_id": state.next_group_id,
        "refills": state.refills,
        "prompt_cursor": state.prompt_cursor,
        "books": state.books,
        "in_flight": [_request_to_json(request) for request in state.in_flight],
        "num_ready": len(state.ready),
        "totals": asdict(state.totals),
        "evaluations": list(state.evaluations),
        "tracker_run_id": state.tracker_run_id,
    }
    (folder / _STATE_FILE).write_text(json.dumps(facts), encoding="utf-8")
    if state.ready:
        unused: dict[int, None] = {scored.group.group_id: None for scored in state.ready}
        store = RolloutStore(folder / _BUFFER_FOLDER)
        store.write(state.steps_done, state.ready, advantages=unused, kind="train")


def read_state(folder: Path) -> LoopState:
    """Inverse of `write_state`. Raises ValueError when the buffer does not hold what the state says."""
    facts: dict[str, Any] = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    ready: Sequence[ScoredGroup] = ()
    if facts["num_ready"]:
        ready = to_scored_groups(read_rollouts(folder / _BUFFER_FOLDER))
    if len(ready) != facts["num_ready"]:
        raise ValueError(
            f"{folder / _BUFFER_FOLDER} holds {len(ready)} groups, {_STATE_FILE} says {facts['num_ready']}; "
            "resume from another checkpoint"
        )
    return LoopState(
        steps_done=facts["steps_done"],
        version=facts["version"],
        next_group_id=facts["next_group_id"],
        refills=facts["refills"],
        prompt_cursor=facts["prompt_cursor"],
        books=facts["books"],
        in_flight=tuple(_request_from_json(row) for row in facts["in_flight"]),
        ready=tuple(ready),
        totals=Totals(**facts["totals"]),
        evaluations=tuple(facts["evaluations"]),
        tracker_run_id=facts["tracker_run_id"],
    )


def _request_to_json(request: GroupRequest) -> dict[str, Any]:
    prompt = request.prompt
    return {
        "group_id": request.group_id,
        "group_size": request.group_size,
        "seed": request.seed,
        "temperature": request.sampling.temperature,
        "max_completion_tokens": request.sampling.max_completion_tokens,
        "prompt_id": prompt.prompt_id,
        "prompt_token_ids": prompt.token_ids.tolist(),
        "prompt_text": prompt.text,
        "reference": dict(prompt.reference),
    }


def _request_from_json(row: dict[str, Any]) -> GroupRequest:
    prompt_ids = np.array(row["prompt_token_ids"], dtype=np.int32)
    return GroupRequest(
        group_id=row["group_id"],
        prompt=Prompt(row["prompt_id"], prompt_ids, row["prompt_text"], row["reference"]),
        group_size=row["group_size"],
        sampling=Sampling(row["temperature"], row["max_completion_tokens"]),
        seed=row["seed"],
    )
