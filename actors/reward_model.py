"""A reward model in a process of its own, on a CPU or a GPU. Who scores with it imports actors/served_model.py.

Requests that wait are scored together, up to `tokens_per_batch` tokens in one forward pass. Scores are the sigmoid of
the model's: of a preference model they order responses to one prompt and say nothing else.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from actors.log_file import write_log_file
from actors.policy_module import to_device
from actors.score_module import load_scorer
from configs.reward_model import RewardModelOptions
from data.packing import pack
from data.records import Int32Array, Sequence
from data.reward_card import read_card
from data.steps import StepSplitter

Waiting = tuple[Sequence, Int32Array, "asyncio.Future[list[float]]"]


class RewardModel:
    """A model in this process: a `rewards.reward_model.StepScorer`. Raises DataError for a folder that holds none."""

    def __init__(self, options: RewardModelOptions) -> None:
        from transformers import AutoTokenizer

        folder = Path(options.path)
        card = read_card(folder)
        self._splitter: StepSplitter | None = None
        if card.kind == "process":
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._splitter = StepSplitter(tokenizer, card.separators)
        self._device = torch.device("cuda", 0) if options.gpus else torch.device("cpu")
        self._module = load_scorer(folder, dtype=card.dtype).to(self._device).eval()
        self._budget, self._longest = options.tokens_per_batch, card.max_tokens
        self._waiting: list[Waiting] = []
        self._work: asyncio.Task[None] | None = None

    async def score(self, prompt_ids: Int32Array, response_ids: Int32Array) -> list[float]:
        """Scores in [0, 1]: one for each step of a process model, one for the whole otherwise.

        Raises ValueError for more tokens than the model was trained for.
        """
        if not len(response_ids):
            return []
        row = Sequence(prompt_ids, response_ids, np.zeros(len(response_ids), dtype=np.float32))
        if row.num_tokens > self._longest:
            raise ValueError(
                f"prompt and response have {row.num_tokens} tokens, the reward model takes {self._longest}"
            )
        last = np.array([len(response_ids) - 1], dtype=np.int32)
        positions = last if self._splitter is None else self._splitter.ends(response_ids)
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, positions, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._score_waiting())
        return await future

    async def _score_waiting(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                answers = await asyncio.to_thread(self._forward, [row for row, _, _ in batch])
            except Exception as error:  # told to everybody who waits for it, and recorded there
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, positions, future), probabilities_T in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(probabilities_T[positions].tolist())

    def _take(self) -> list[Waiting]:
        """Those that have waited longest, within the budget; at least one."""
        count, tokens = 0, 0
        while count < len(self._waiting):
            tokens += self._waiting[count][0].num_tokens
            if count and tokens > self._budget:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _forward(self, rows: list[Sequence]) -> list[Any]:
        with torch.inference_mode():
            scores_R = self._module(to_device(pack(rows), self._device))
        ends = np.cumsum([len(row.response_ids) for row in rows])
        return np.split(scores_R.double().sigmoid().cpu().numpy(), ends[:-1])


@ray.remote(max_restarts=3, max_concurrency=256)  # pyright: ignore[reportCallIssue]
class RewardModelActor:
    """Serves one model."""

    def __init__(self, options: RewardModelOptions) -> None:
        write_log_file()
        torch.set_num_threads(max(1, int(options.cpus)))
        self._model = RewardModel(options)

    async def ready(self) -> None:
        """Answers once the model is loaded."""

    async def score(self, prompt_ids: Int32Array, response_ids: Int32Array) -> list[float]:
        return await self._model.score(prompt_ids, response_ids)
