"""A teacher behind an OpenAI-compatible endpoint: satisfies `trainers.ports.RolloutFleet` without an engine of our own.

Contract: a group's completions are texts that the teacher wrote, encoded once with the *student's* tokenizer. Nobody
knows the student's logprobs of them: `logprobs` is NaN and `versions` is -1, so the groups are for supervised use only,
and a policy-gradient batch refuses them. `start` before use and `close` after, in the event loop of the calls.
"""

import time
from typing import Any

import numpy as np

from configs.endpoint import TeacherEndpoint
from data.chat import render_response
from data.errors import DataError
from data.records import Completion, FinishReason, Group, GroupRequest
from rewards.chat_endpoint import BudgetSpent, ChatEndpoint, Reply
from rewards.sample import InfrastructureError


class TeacherGroupFailed(RuntimeError):
    """The teacher gave no group, or one that the student's vocabulary cannot write. Costs the run this group."""

    rollout_failed = True


class TeacherUnavailable(RuntimeError):
    """The key is missing, or the budget of requests or tokens is used up: nothing can be sampled any more."""


class EndpointFleet:
    """`tokenizer`: the student's."""

    def __init__(self, config: TeacherEndpoint, tokenizer: Any) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._endpoint = ChatEndpoint(config)

    @property
    def name(self) -> str:
        """Which model, and where: what its groups carry as their worker."""
        return f"{self._config.model} at {self._config.url}"

    async def start(self) -> None:
        """Raises TeacherUnavailable when the key is missing."""
        try:
            await self._endpoint.start()
        except InfrastructureError as error:
            raise TeacherUnavailable(str(error)) from error

    async def close(self) -> None:
        """End open requests."""
        await self._endpoint.close()

    async def generate(self, request: GroupRequest) -> Group:
        """Ask for the completions of one prompt. Raises TeacherGroupFailed, TeacherUnavailable."""
        start = time.perf_counter()
        limit = request.sampling.max_completion_tokens
        settings: dict[str, Any] = {
            "n": request.group_size,
            "temperature": request.sampling.temperature,
            "max_tokens": limit,
            "seed": request.seed & 0x7FFFFFFF,  # servers take 32 bits at least
        }
        try:
            if self._config.api == "chat":
                replies = await self._endpoint.chat([{"role": "user", "content": request.prompt.text}], **settings)
            else:
                replies = await self._endpoint.complete(request.prompt.text, **settings)
            completions = tuple(self._completion(reply, limit) for reply in replies)
        except BudgetSpent as error:
            raise TeacherUnavailable(str(error)) from error
        except (InfrastructureError, DataError) as error:
            raise TeacherGroupFailed(str(error)) from error
        return Group(
            group_id=request.group_id,
            prompt=request.prompt,
            completions=completions,
            worker=self.name,
            generate_s=time.perf_counter() - start,
        )

    def _completion(self, reply: Reply, limit: int) -> Completion:
        """Cut where the student's tokens are more than the limit: the two tokenizers count differently."""
        if reply.finish_reason not in ("stop", "length"):
            raise InfrastructureError(f"{self._config.url} ended a completion with {reply.finish_reason[:40]!r}")
        token_ids = render_response(self._tokenizer, reply.text)
        finish_reason: FinishReason = "stop" if reply.finish_reason == "stop" else "length"
        if finish_reason == "length":
            token_ids = token_ids[:-1]  # it did not end, so no eos
        if len(token_ids) > limit:
            token_ids, finish_reason = token_ids[:limit], "length"
        return Completion(
            token_ids=token_ids,
            logprobs=np.full(len(token_ids), np.nan, dtype=np.float32),
            versions=np.full(len(token_ids), -1, dtype=np.int32),
            text=str(self._tokenizer.decode(token_ids.tolist(), skip_special_tokens=True)),
            finish_reason=finish_reason,
        )
