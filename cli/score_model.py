"""`rayzero score --reward reward_model`: a reward model in this process, over rows of text or of token ids."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from actors.reward_model import RewardModel
from algorithms.step_scores import aggregate
from configs.reward_model import RewardModelOptions
from data.chat import encode_prompt, render_response
from data.records import Int32Array
from rewards.reward_model import ModelReward
from rewards.sample import Sample, Score


def open_model(options: RewardModelOptions) -> Callable[[Sample], Awaitable[Score]]:
    """The reward over rows. Raises DataError for a folder that holds no reward model.

    A row has `prompt_ids` and `response_ids` as they were sampled, or `prompt` and `response` as text, rendered: the
    prompt is encoded as raw text, the response gets eos.
    """
    from transformers import AutoTokenizer

    model = ModelReward(RewardModel(options), partial(aggregate, how=options.aggregation))
    tokenizer = AutoTokenizer.from_pretrained(options.path, local_files_only=True)

    async def score(sample: Sample) -> Score:
        row = sample.reference
        prompt_ids = _ids(row, "prompt_ids")
        if prompt_ids is None:
            prompt_ids = encode_prompt(tokenizer, row["prompt"], template="raw")
        response_ids = _ids(row, "response_ids")
        if response_ids is None:
            response_ids = render_response(tokenizer, sample.response)
        return await model(replace(sample, prompt_ids=prompt_ids, response_ids=response_ids))

    return score


def _ids(row: Any, column: str) -> Int32Array | None:
    return None if row.get(column) is None else np.array(row[column], dtype=np.int32)
