"""What is written is read back exactly, one whole file per step, readable with plain pyarrow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.errors import DataError
from data.records import Completion, Group, Prompt, ScoredGroup, Verdict
from data.store import RolloutStore, read_rollouts, to_scored_groups, to_table

pytestmark = pytest.mark.unit


def completion(tokens: int, text: str = "2") -> Completion:
    return Completion(
        token_ids=np.arange(tokens, dtype=np.int32),
        logprobs=np.random.default_rng(tokens).normal(size=tokens).astype(np.float32),
        versions=np.full(tokens, 3, np.int32),
        text=text,
        finish_reason="length" if tokens > 4 else "stop",
    )


VERDICTS = (
    Verdict("ok", 1.1, True, {"math": 1.0, "format": 0.1}, "right", 0.25),
    Verdict("infra_error", None, False, {}, "worker died", 0.5),
    Verdict("ok", 0.0, False, {"math": 0.0, "format": 0.0}),
)


def scored(group_id: int, reference: Mapping[str, Any] | None = None) -> ScoredGroup:
    prompt = Prompt(
        f"p{group_id}", np.array([2, 5], np.int32), "1+1=é?\n", {"answer": "2"} if reference is None else reference
    )
    completions = (completion(5), completion(0, ""), completion(3, '"\\n<think>'))
    return ScoredGroup(Group(group_id, prompt, completions, "rollout-0", 0.1), VERDICTS, 1 / 3, 2 / 3)


def same(one: ScoredGroup, other: ScoredGroup) -> None:
    assert one.verdicts == other.verdicts
    assert (one.queue_s, one.reward_s) == (other.queue_s, other.reward_s)
    a, b = one.group, other.group
    assert (a.group_id, a.worker, a.generate_s) == (b.group_id, b.worker, b.generate_s)
    assert (a.prompt.prompt_id, a.prompt.text, a.prompt.reference) == (
        b.prompt.prompt_id,
        b.prompt.text,
        b.prompt.reference,
    )
    arrays = [(a.prompt.token_ids, b.prompt.token_ids)]
    for x, y in zip(a.completions, b.completions, strict=True):
        assert (x.text, x.finish_reason) == (y.text, y.finish_reason)
        arrays += [(x.token_ids, y.token_ids), (x.logprobs, y.logprobs), (x.versions, y.versions)]
    for x, y in arrays:
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes()


def test_groups_survive_the_round_trip_to_the_last_bit(tmp_path: Path) -> None:
    groups = [
        scored(7),
        scored(3, {"numbers": [8, 2, 1], "target": 14, "order": "any", "share": 0.1, "none": None}),
        scored(9, {}),
    ]
    RolloutStore(tmp_path / "rollouts").write(12, groups)
    back = to_scored_groups(read_rollouts(tmp_path / "rollouts"))
    assert len(back) == 3
    for one, other in zip(groups, back, strict=True):
        same(one, other)


def test_rows_say_what_was_trained_and_with_which_advantage() -> None:
    table = to_table(1, [scored(0), scored(1), scored(2)], advantages={0: [0.5, np.nan, -0.5], 1: None})
    assert table.column("trained").to_pylist() == [True, False, True] + [False] * 6
    assert table.column("advantage").to_pylist() == [0.5, None, -0.5] + [None] * 6
    assert table.column("score").to_pylist() == [1.1, None, 0.0] * 3
    with pytest.raises(ValueError, match="group 0 has 3 completions and 2 advantages"):
        to_table(1, [scored(0)], advantages={0: [0.5, 0.5]})


def test_files_are_named_by_step_and_read_with_plain_pyarrow(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    file = store.write(12, [scored(0)])
    store.write(12, [scored(0)], kind="eval")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eval_000012.parquet", "step_000012.parquet"]
    table = pq.read_table(file)
    assert table.num_rows == 3
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    row = table.to_pylist(maps_as_pydicts="strict")[0]
    assert row["reward_parts"] == {"math": 1.0, "format": 0.1}
    assert (row["step"], row["kind"], row["sample"], row["group_size"]) == (12, "train", 0, 3)


def test_reading_takes_the_steps_asked_for_in_order(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for step in (10, 2, 1_000_000):
        store.write(step, [scored(step)])
    assert read_rollouts(tmp_path).column("step").unique().to_pylist() == [2, 10, 1_000_000]
    assert read_rollouts(tmp_path, [10]).column("step").unique().to_pylist() == [10]
    with pytest.raises(DataError, match="no train rollouts of step 3; it has 3 steps from 2 to 1000000"):
        read_rollouts(tmp_path, [3])
    with pytest.raises(DataError, match="no eval rollouts"):
        read_rollouts(tmp_path, kind="eval")


def test_a_step_written_again_replaces_its_file(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.write(1, [scored(0), scored(1)])
    store.write(1, [scored(2)])
    assert [group.group.group_id for group in to_scored_groups(read_rollouts(tmp_path))] == [2]


def test_an_unfinished_file_is_not_seen_and_is_replaced(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    (tmp_path / ".step_000001.parquet.writing").write_bytes(b"half")
    with pytest.raises(DataError, match="holds no train rollouts"):
        read_rollouts(tmp_path)
    store.write(1, [scored(0)])
    assert read_rollouts(tmp_path).num_rows == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_a_step_without_groups_is_an_empty_table(tmp_path: Path) -> None:
    RolloutStore(tmp_path).write(1, [])
    assert to_scored_groups(read_rollouts(tmp_path)) == []


def test_partial_groups_are_refused(tmp_path: Path) -> None:
    table = to_table(4, [scored(6)])
    with pytest.raises(DataError, match=r"group 6 of train step 4 has 3 completions.*\[0, 2\]"):
        to_scored_groups(table.take([0, 2]))
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        to_scored_groups(table.slice(0, 2))


def test_the_same_group_id_in_two_steps_is_two_groups(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.write(1, [scored(0)], kind="eval")
    store.write(2, [scored(0)], kind="eval")
    assert len(to_scored_groups(read_rollouts(tmp_path, kind="eval"))) == 2
