"""Both sides of the comparison have the same task."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import grpo_throughput, peer_trl
from benchmarks.real_run import config_tree
from configs.load import parse_run
from configs.rewards import Rewards
from data.records import Completion, Group, Prompt
from rewards.rubric import Rubric

ANSWERS = (
    "<think>8*2=16,-1=15</think><answer>8*2-1</answer>",
    "<think>8+2=10,-1=9</think><answer>8+2-1</answer>",
    "<answer>8*2-1</answer>",
    "nothing",
)

pytestmark = pytest.mark.unit


async def test_the_peer_scores_completions_as_the_rubric_of_the_config_does() -> None:
    reference = {"numbers": [8, 2, 1], "target": 15, "order": "given"}
    none = np.empty(0, np.int32)
    completions = tuple(Completion(none, none.astype("f4"), none, text, "stop") for text in ANSWERS)
    group = Group(0, Prompt("p", none, "15=8,2,1:", reference), completions, "", 0.0)
    rubric = Rubric(Rewards.model_validate_json(json.dumps(config_tree(grpo_throughput.CONFIG)["rewards"])))
    verdicts = await rubric.score_group(group, 96)
    theirs = peer_trl.score(["15=8,2,1:"] * len(ANSWERS), list(ANSWERS), [json.dumps(reference)] * len(ANSWERS))
    assert theirs == pytest.approx([verdict.score for verdict in verdicts])
    assert theirs == pytest.approx([1.1, 0.1, 1.0, 0.0])


def test_the_measured_run_differs_from_the_config_only_in_its_start_its_end_and_a_rate_like_the_peers(
    tmp_path: Path,
) -> None:
    tree = grpo_throughput.grpo_run(tmp_path, 30)
    config = config_tree(grpo_throughput.CONFIG)
    changed = {key for key in config if config[key] != tree[key]}
    assert changed == {"name", "policy", "cold_start", "evaluation", "steps", "schedule"}
    parse_run(tree, check_paths=False)
