"""`rayzero journey` on a run folder made by hand: verified rows, the twins side by side, and clear refusals."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli.journey import JOURNEYS, SHORTCUTS, write_journeys
from configs.load import dump_run, load_run
from data.errors import DataError
from data.rationales import Rationale, write_rationales
from data.records import Completion, Group, Prompt, ScoredGroup, Verdict
from data.store import RolloutStore
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit
CONFIGS = Path(__file__).parents[2] / "configs"
TOKENIZER = build_tokenizer("countdown")
WRONG = "<think>8+2=10,+1=11</think><answer>8+2+1</answer>"
RIGHT = "<think>8-2=6,-1=5</think><answer>8-2-1</answer>"


def tokens(text: str) -> np.ndarray:
    ids = [*TOKENIZER(text, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id]
    return np.array(ids, dtype=np.int32)


def scored(group_id: int, *samples: tuple[str, bool]) -> ScoredGroup:
    reference = {"numbers": [8, 2, 1], "target": 5, "order": "given"}
    prompt = Prompt("countdown:given:5=8,2,1", tokens("5=8,2,1:")[:-1], "5=8,2,1:", reference)
    completions = tuple(
        Completion(ids := tokens(text), np.zeros(len(ids), np.float32), np.zeros(len(ids), np.int32), text, "stop")
        for text, _ in samples
    )
    verdicts = tuple(Verdict("ok", float(right), right) for _, right in samples)
    return ScoredGroup(Group(group_id, prompt, completions, "w", 0.1), verdicts, 0.0, 0.0)


def run_folder(tmp_path: Path, *groups: ScoredGroup) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_run(load_run(CONFIGS / "journey_source_cpu.yaml")))
    RolloutStore(folder / "rollouts").write(1, groups)
    return folder


def test_both_files_hold_the_same_problems_token_by_token_and_as_text(tmp_path: Path):
    folder = run_folder(tmp_path, scored(0, (WRONG, False), (RIGHT, True)), scored(2, (RIGHT, True)))
    summary = write_journeys(folder, tmp_path / "out", transition="!", pairs=2)
    journey, shortcut = (pq.read_table(tmp_path / "out" / name).to_pylist() for name in (JOURNEYS, SHORTCUTS))
    assert (summary.problems, summary.mixed, summary.journeys, summary.refused) == (2, 1, 1, 0)
    assert journey[0]["response"] == "<think>8+2=10,+1=11!8-2=6,-1=5</think><answer>8-2-1</answer>"
    assert journey[0]["response_token_ids"] == tokens(journey[0]["response"]).tolist()
    assert shortcut[0]["response"] == RIGHT
    assert shortcut[0]["response_token_ids"] == tokens(RIGHT).tolist()
    assert journey[0]["prompt_token_ids"] == shortcut[0]["prompt_token_ids"] == tokens("5=8,2,1:")[:-1].tolist()
    assert len(journey) == len(shortcut) == 1


def test_a_journey_that_the_rewards_do_not_call_right_is_in_neither_file(tmp_path: Path):
    lucky = (WRONG, True)  # the store calls it right, the rewards do not
    other = RIGHT.replace("8-2-1", "8*2*1")
    groups = [scored(0, (other, False), lucky), scored(2, (WRONG, False), (RIGHT, True))]
    summary = write_journeys(run_folder(tmp_path, *groups), tmp_path / "out", transition="!", pairs=1)
    assert (summary.mixed, summary.journeys, summary.refused) == (2, 1, 1)
    assert pq.read_table(tmp_path / "out" / SHORTCUTS).num_rows == 1


def test_groups_that_were_sampled_with_a_hint_are_left_out(tmp_path: Path):
    plain, hinted = scored(0, (WRONG, False), (RIGHT, True)), scored(1, (WRONG, False), (RIGHT, True))
    folder = run_folder(tmp_path, plain, hinted)
    rationales = [
        Rationale(g.group.prompt, c, v, hinted=g is hinted, group_id=g.group.group_id, sample=i, fate="trained")
        for g in (plain, hinted)
        for i, (c, v) in enumerate(zip(g.group.completions, g.verdicts, strict=True))
    ]
    write_rationales(folder / "rationales", 1, rationales)
    assert write_journeys(folder, tmp_path / "out", transition="!", pairs=1).problems == 1


def test_a_run_without_mixed_problems_and_a_transition_outside_the_vocabulary_are_refused(tmp_path: Path):
    folder = run_folder(tmp_path, scored(0, (RIGHT, True)))
    with pytest.raises(DataError, match="sample more"):
        write_journeys(folder, tmp_path / "out", transition="!", pairs=1)
    with pytest.raises(DataError, match="has a symbol that the policy's vocabulary does not"):
        write_journeys(folder, tmp_path / "out", transition="Wait", pairs=1)
    assert not (tmp_path / "out").exists()


def test_a_run_without_samples_is_refused(tmp_path: Path):
    folder = run_folder(tmp_path)
    for file in (folder / "rollouts").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="holds no train rollouts"):
        write_journeys(folder, tmp_path / "out", transition="!", pairs=1)
