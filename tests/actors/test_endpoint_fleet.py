import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from actors.endpoint_fleet import EndpointFleet, TeacherGroupFailed, TeacherUnavailable
from configs.endpoint import TeacherEndpoint
from data.records import GroupRequest, Prompt, Sampling
from data.vocabulary import build_tokenizer
from tests.rewards.fake_endpoint import Answer, FakeEndpoint, protocol_answer, serving
from trainers.ports import is_group_failure

pytestmark = pytest.mark.unit
TOKENIZER = build_tokenizer("characters")
PROMPT = Prompt("addition:1+1", np.array([2, 8, 9], dtype=np.int32), "1+1:", {"answer": "2"})


@contextlib.asynccontextmanager
async def teacher(answer: Answer, **options: Any) -> AsyncIterator[tuple[EndpointFleet, FakeEndpoint]]:
    async with serving(answer) as fake:
        config = TeacherEndpoint.model_validate({"url": fake.url, "model": "big", "retries": 0} | options)
        fleet = EndpointFleet(config, TOKENIZER)
        await fleet.start()
        try:
            yield fleet, fake
        finally:
            await fleet.close()


def request(samples: int = 2, limit: int = 32) -> GroupRequest:
    return GroupRequest(7, PROMPT, samples, Sampling(0.8, limit), seed=2**61 + 5)


async def test_a_group_is_asked_for_by_the_text_of_the_prompt_and_encoded_for_the_student():
    answers = ["<think></think><answer>2</answer>", "11"]
    async with teacher(lambda body: answers) as (fleet, fake):
        group = await fleet.generate(request())
    assert fake.bodies == [
        {
            "prompt": "1+1:",
            "model": "big",
            "n": 2,
            "temperature": 0.8,
            "max_tokens": 32,
            "seed": (2**61 + 5) & 0x7FFFFFFF,
        }
    ]
    assert (group.group_id, group.prompt) == (7, PROMPT)
    assert group.worker == f"big at {fake.url}"
    assert [c.text for c in group.completions] == answers
    assert TOKENIZER.decode(group.completions[0].token_ids.tolist()) == answers[0] + "<eos>"
    assert len(group.completions[1].token_ids) == 3


async def test_nobody_knows_the_students_logprobs_of_the_teachers_text():
    async with teacher(lambda body: "2") as (fleet, _):
        completion = (await fleet.generate(request(1))).completions[0]
    assert completion.logprobs.shape == completion.versions.shape == completion.token_ids.shape
    assert np.isnan(completion.logprobs).all()
    assert (completion.versions == -1).all()


async def test_a_chat_teacher_gets_the_text_as_a_message():
    async with teacher(lambda body: "2", api="chat") as (fleet, fake):
        await fleet.generate(request(1))
    assert fake.bodies[0]["messages"] == [{"role": "user", "content": "1+1:"}]


async def test_what_did_not_end_has_no_eos_and_what_is_too_long_for_the_student_is_cut():
    def cut(body: dict[str, Any]) -> web.Response:
        return web.json_response(protocol_answer(["222"], chat=False, finish_reason="length"))

    async with teacher(cut) as (fleet, fake):
        completion = (await fleet.generate(request(1))).completions[0]
        assert (len(completion.token_ids), completion.finish_reason) == (3, "length")
        fake.answer = lambda body: "22222222"
        completion = (await fleet.generate(request(1, limit=4))).completions[0]
        assert (completion.text, len(completion.token_ids), completion.finish_reason) == ("2222", 4, "length")


@pytest.mark.parametrize(
    "answer",
    [
        lambda body: web.Response(status=500),
        lambda body: "a text with the symbol ∑",
        lambda body: web.json_response(protocol_answer(["2"], chat=False, finish_reason="content_filter")),
        lambda body: ["2"],
    ],
    ids=["status", "vocabulary", "filter", "too few"],
)
async def test_a_teacher_that_fails_costs_one_group(answer: Answer):
    async with teacher(answer) as (fleet, _):
        with pytest.raises(TeacherGroupFailed) as caught:
            await fleet.generate(request(2))
    assert is_group_failure(caught.value)


async def test_a_spent_budget_ends_the_run():
    async with teacher(lambda body: "2", max_calls=1) as (fleet, _):
        await fleet.generate(request())
        with pytest.raises(TeacherUnavailable, match="max_calls = 1") as caught:
            await fleet.generate(request())
    assert not is_group_failure(caught.value)


async def test_a_teacher_without_its_key_does_not_start():
    fleet = EndpointFleet(TeacherEndpoint(url="http://localhost:1/v1", model="m", api_key_env="NO_SUCH_KEY"), TOKENIZER)
    with pytest.raises(TeacherUnavailable, match="api_key_env = NO_SUCH_KEY"):
        await fleet.start()
    await fleet.close()
