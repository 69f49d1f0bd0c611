"""A reward model that is served: the same scores alone and together, steps as the card says, the rubric's part."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.reward_model import RewardModel
from actors.score_module import load_scorer
from actors.scratch_policy import write_scratch_policy
from actors.served_model import model_reward
from cli.score import score_file
from configs.policy import ScratchPolicy
from configs.reward_model import RewardModelOptions
from configs.rewards import RewardPart, Rewards
from data.errors import DataError
from data.packing import pack
from data.records import Completion, Group, Prompt, Sequence
from data.reward_card import RewardCard, write_card
from data.vocabulary import build_tokenizer
from rewards.rubric import Rubric

pytestmark = pytest.mark.unit
TOKENIZER = build_tokenizer("characters")
WORKED = "<think>1+1+0=02;2+3+0=05</think><answer>52</answer>"


def ids(text: str, *more: Any) -> Any:
    return np.array([*TOKENIZER(text, add_special_tokens=False)["input_ids"], *more], dtype=np.int32)


PROMPT = ids("21+31:")
RESPONSE = ids(WORKED, TOKENIZER.eos_token_id)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same random weights, once as a process model and once as an outcome model."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    policy = tmp_path_factory.mktemp("policy")
    scratch = ScratchPolicy(vocabulary="characters", hidden_size=32, layers=1, mlp_size=32, init_std=0.5)
    write_scratch_policy(scratch, policy, seed=1)
    module = load_scorer(policy, dtype="float32")
    found: dict[str, Path] = {}
    for kind, separators in (("process", (";", "</think>")), ("outcome", ())):
        found[kind] = tmp_path_factory.mktemp(kind)
        module.language_model.save_pretrained(found[kind])  # type: ignore[operator]
        TOKENIZER.save_pretrained(found[kind])
        write_card(found[kind], RewardCard(kind, separators, 64, "float32"))  # type: ignore[arg-type]
    return found


def served(folder: Path, **options: Any) -> RewardModel:
    return RewardModel(RewardModelOptions(path=str(folder), **options))


async def test_steps_are_scored_at_their_last_tokens(folders: dict[str, Path]):
    scores = await served(folders["process"]).score(PROMPT, RESPONSE)
    ends = [RESPONSE.tolist().index(int(ids(";")[0])), RESPONSE.tolist().index(int(ids("</think>")[0])), -1]
    row = Sequence(PROMPT, RESPONSE, np.zeros(len(RESPONSE), np.float32))
    with torch.no_grad():
        expected = load_scorer(folders["process"], dtype="float32").eval()(pack([row])).sigmoid()[ends]
    assert scores == pytest.approx(expected.tolist(), abs=1e-6)
    assert len(set(scores)) == 3
    assert await served(folders["outcome"]).score(PROMPT, RESPONSE) == pytest.approx(scores[-1:], abs=1e-6)


async def test_requests_that_wait_share_a_pass_within_the_budget_and_score_as_alone(folders: dict[str, Path]):
    model = served(folders["process"], tokens_per_batch=100)
    passes: list[int] = []
    forward = model._forward
    model._forward = lambda rows: (passes.append(len(rows)), forward(rows))[1]  # type: ignore[method-assign]
    responses = [RESPONSE, RESPONSE[:9], RESPONSE[:20], RESPONSE[:30], RESPONSE[:3]]
    together = await asyncio.gather(*(model.score(PROMPT, response) for response in responses))
    assert sum(passes) == 5
    assert 1 < len(passes) < 5
    for response, scores in zip(responses, together, strict=True):
        assert scores == pytest.approx(await model.score(PROMPT, response), abs=1e-5)


async def test_what_cannot_be_scored_is_told_to_its_caller_alone(folders: dict[str, Path], tmp_path: Path):
    model = served(folders["process"])
    with pytest.raises(ValueError, match="the reward model takes 64"):
        await model.score(PROMPT, np.tile(RESPONSE, 3))
    outcomes = await asyncio.gather(
        model.score(np.array([9999], np.int32), RESPONSE), model.score(PROMPT, ids("")), return_exceptions=True
    )
    assert isinstance(outcomes[0], Exception), "a token that the model has not"
    assert outcomes[1] == []
    assert len(await model.score(PROMPT, RESPONSE)) == 3, "and it goes on"
    with pytest.raises(DataError, match="holds no reward model"):
        served(tmp_path)


@pytest.mark.parametrize("aggregation", ["min", "product", "last"])
async def test_the_rubric_gives_the_model_the_sampled_ids_and_sums_its_steps_up(
    folders: dict[str, Path], aggregation: Any
):
    path = str(folders["process"])
    model = served(folders["process"])
    options = {"path": path, "aggregation": aggregation}
    parts = (RewardPart(type="exact_number"), RewardPart(type="reward_model", weight=0.5, options=options))
    rubric = Rubric(Rewards(parts=parts), lambda part: model_reward({path: model}, part))
    nothing = np.zeros(len(RESPONSE), np.int32)
    # The text says something else than the ids: the model must be given the ids.
    completion = Completion(RESPONSE, nothing.astype(np.float32), nothing, "<answer>52</answer>", "stop")
    empty = Completion(RESPONSE[:0], nothing[:0].astype(np.float32), nothing[:0], "", "stop")
    group = Group(0, Prompt("p", PROMPT, "21+31:", {"answer": "52"}), (completion, empty), "w", 0.0)
    verdict, of_nothing = await rubric.score_group(group, 64)
    steps = await model.score(PROMPT, RESPONSE)
    expected = {"min": min(steps), "product": float(np.prod(steps)), "last": steps[-1]}[aggregation]
    assert verdict.parts == {"exact_number": 1.0, "reward_model": pytest.approx(expected, abs=1e-6)}
    assert verdict.score == pytest.approx(1 + 0.5 * expected, abs=1e-6)
    assert (verdict.correct, of_nothing.parts["reward_model"]) == (True, 0.0)


def test_a_rubric_without_a_served_model_is_refused():
    part = RewardPart(type="reward_model", options={"path": "runs/x"})
    with pytest.raises(ValueError, match="needs a model that is served"):
        Rubric(Rewards(parts=(part,)))


async def test_a_file_of_text_and_of_ids_is_scored_alike(folders: dict[str, Path], tmp_path: Path):
    prompt_ids = [TOKENIZER.bos_token_id, *PROMPT.tolist()]
    rows = [
        {"id": "text", "prompt": "21+31:", "response": WORKED},
        {"id": "ids", "prompt": "", "response": "", "prompt_ids": prompt_ids, "response_ids": RESPONSE.tolist()},
        {"id": "bad", "prompt": "21+31:", "response": "Ünknown"},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (tmp_path / "in.jsonl", "reward_model", tmp_path / "out.jsonl", folders["process"], "product")
    summary = await asyncio.to_thread(score_file, *arguments)
    text, by_ids, bad = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (summary.outcomes["ok"], summary.outcomes["verifier_error"]) == (2, 1)
    assert text["score"] == pytest.approx(by_ids["score"], abs=1e-6)
    assert bad["outcome"] == "verifier_error"
    with pytest.raises(ValueError, match="--model names the folder"):
        score_file(tmp_path / "in.jsonl", "reward_model", tmp_path / "out.jsonl")
