"""Rejection sampling: what is right becomes rows, chunk by chunk, and a resume gives the rows of an unbroken run."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from configs.engines import Rollout
from configs.prompts import RowTraces
from configs.rejection import Rejection
from configs.rewards import RewardPart, Rewards
from data.traces import TraceSource
from data.vocabulary import build_tokenizer
from tests.trainers.star_fakes import CLASSES, CountingProblems, StarWorld
from trainers.rejection import Lineage, RejectionFailed, RejectionLoop
from trainers.ungraded import UngradedRewards

pytestmark = pytest.mark.unit
REWARDS = Rewards(parts=(RewardPart(type="exact_number"),))


def make_loop(world: StarWorld, folder: Path, *, service: Any = None, model: str = "m", **settings: Any):
    rejection = Rejection(**{"problems": 8, "chunk_problems": 3, "max_rows_per_problem": 2, **settings})
    return RejectionLoop(
        rejection,
        Rollout(group_size=4, max_completion_tokens=4),
        REWARDS,
        seed=1,
        prompts=CountingProblems(),
        fleet=world,
        service=service or world,
        tracker=world,
        store=world,
        folder=folder,
        lineage=Lineage(model, 7),
    )


def knowing(*classes: int) -> StarWorld:
    world = StarWorld(set(classes))
    world.serving = 7, frozenset(classes)
    return world


def rows(file: Path) -> list[dict[str, Any]]:
    return pq.read_table(file).to_pylist()


async def test_right_answers_become_rows_with_their_tokens_verdict_and_lineage(tmp_path: Path):
    result = await make_loop(knowing(1), tmp_path).run()
    assert result.status == "finished"
    assert result.rows_file == tmp_path / "rows.parquet"
    found = rows(tmp_path / "rows.parquet")
    assert [(row["id"], row["sample"]) for row in found] == [("p1", 0), ("p1", 1), ("p5", 0), ("p5", 1)]
    first = found[0]
    assert (first["prompt_token_ids"], first["response_token_ids"]) == ([1], [50, 101, 0])
    assert (first["score"], first["correct"], first["outcome"]) == (1.0, True, "ok")
    assert (first["model"], first["oldest_version"], first["newest_version"]) == ("m", 7, 7)
    assert first["reference"] == '{"answer": 101}'
    summary = result.summary()
    assert (summary["problems"], summary["samples"], summary["rows"]) == (8, 32, 4)
    assert summary["solved_share"] == 2 / 8
    assert summary["row_length_mean"] == 3
    assert (summary["wrong"], summary["over_cap"]) == (24, 4)


async def test_everything_is_kept_without_rewards_when_all_is_accepted(tmp_path: Path):
    result = await make_loop(knowing(), tmp_path, service=UngradedRewards(), accept="all", problems=2).run()
    assert result.rows_file is not None
    found = rows(result.rows_file)
    assert len(found) == 4
    assert {(row["outcome"], row["score"], row["correct"]) for row in found} == {("ungraded", None, None)}


async def test_a_stopped_run_resumes_to_the_rows_of_an_unbroken_one(tmp_path: Path):
    whole = await make_loop(knowing(0, 1, 2, 3), tmp_path / "whole").run()
    world = knowing(0, 1, 2, 3)
    loop = make_loop(world, tmp_path / "broken")
    log_step, first = world.log_step, list[int]()

    def stop_after_first(step: int, metrics: Any) -> None:
        log_step(step, metrics)
        first.append(step)
        loop.request_stop()

    world.log_step = stop_after_first  # type: ignore[method-assign]
    stopped = await loop.run()
    assert (stopped.status, stopped.rows_file, first) == ("stopped", None, [1])
    again = make_loop(knowing(0, 1, 2, 3), tmp_path / "broken")
    again.resume(tmp_path / "broken" / "checkpoints" / "step_000001")
    resumed = await again.run()
    assert resumed.totals.problems == 8
    assert resumed.rows_file is not None
    assert whole.rows_file is not None
    assert rows(resumed.rows_file) == rows(whole.rows_file)


async def test_rows_of_another_model_are_not_joined(tmp_path: Path):
    await make_loop(knowing(1), tmp_path).run()
    with pytest.raises(ValueError, match="was sampled by m, and this run has other"):
        make_loop(knowing(1), tmp_path, model="other").resume(tmp_path / "checkpoints" / "step_000003")


async def test_a_run_without_any_row_and_one_whose_groups_fail_end_with_the_reason(tmp_path: Path):
    with pytest.raises(RejectionFailed, match="none of the 32 completions of 8 problems"):
        await make_loop(knowing(), tmp_path / "a").run()
    world = knowing(1)
    world.failing = {0, 1}
    with pytest.raises(RejectionFailed, match="2 of 3 groups of chunk 1 failed"):
        await make_loop(world, tmp_path / "b").run()


async def test_traces_read_the_rows_token_by_token(tmp_path: Path):
    world = knowing(1)
    world.fillers = lambda number, sample: 10 + sample
    world.score = UngradedRewards().score  # type: ignore[method-assign]
    result = await make_loop(world, tmp_path, accept="all", problems=CLASSES).run()
    tokenizer = build_tokenizer("countdown")
    config = RowTraces(
        path=str(result.rows_file),
        prompt_column="prompt_token_ids",
        response_column="response_token_ids",
        template="raw",
    )
    source = TraceSource(config, tokenizer, 0, max_tokens=8)
    pairs = {(tuple(p.tolist()), tuple(r.tolist())) for p, r in (source.take() for _ in range(source.rows or 0))}
    assert ((1,), (10, 101, 0)) in pairs
    assert source.rows == 8
