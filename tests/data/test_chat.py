"""Prompts are rendered once, as the tokenizer wants them; responses end in eos; mistakes are named."""

import pytest

from data.chat import check_problem, render_prompt, render_response
from data.errors import DataError
from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{{ m.role }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def plain():
    return build_tokenizer("characters")


@pytest.fixture(scope="module")
def chatty():
    tokenizer = build_tokenizer("characters")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_raw_prompts_are_the_text_after_bos(plain) -> None:
    ids, text = render_prompt(plain, "1+2:", system_prompt=None, template="raw")
    assert text == "1+2:"
    assert ids.dtype == "int32"
    assert ids.tolist() == [plain.bos_token_id, *plain.convert_tokens_to_ids(list("1+2:"))]


def test_chat_prompts_end_where_the_answer_begins_and_get_no_second_bos(chatty) -> None:
    ids, text = render_prompt(chatty, "add 1", system_prompt="be terse", template="chat")
    assert text == "system:be terse\nuser:add 1\nassistant:"
    assert chatty.decode(ids) == text


def test_messages_are_rendered_as_they_are(chatty) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert render_prompt(chatty, messages, system_prompt=None, template="chat")[1] == "user:a\nassistant:b\nassistant:"
    assert len(messages) == 2


def test_responses_end_in_exactly_one_eos_and_have_no_bos(plain) -> None:
    ids = render_response(plain, "<answer>3</answer>")
    assert ids.dtype == "int32"
    assert plain.decode(ids) == "<answer>3</answer><eos>"


def test_a_tokenizer_without_template_is_refused_with_the_remedy(plain) -> None:
    with pytest.raises(DataError, match="has none; use `template: raw`"):
        render_prompt(plain, "1", system_prompt=None, template="chat")


def test_what_the_template_refuses_is_told_with_its_words(chatty) -> None:
    with pytest.raises(DataError, match=r"roles \['tool'\]: no tools here"):
        render_prompt(chatty, [{"role": "tool", "content": "x"}], system_prompt=None, template="chat")


def test_two_system_messages_are_refused(chatty) -> None:
    with pytest.raises(DataError, match="`system_prompt` is set as well"):
        render_prompt(chatty, [{"role": "system", "content": "x"}], system_prompt="y", template="chat")


@pytest.mark.parametrize(("problem", "system"), [([{"role": "user", "content": "x"}], None), ("x", "y")])
def test_raw_refuses_what_only_a_template_can_render(plain, problem, system) -> None:
    with pytest.raises(DataError, match="use `template: chat`"):
        render_prompt(plain, problem, system_prompt=system, template="raw")


def test_symbols_outside_the_vocabulary_are_an_error_that_shows_the_text(plain) -> None:
    with pytest.raises(DataError, match="'3€' has a symbol"):
        render_prompt(plain, "3€", system_prompt=None, template="raw")


def test_a_tokenizer_without_eos_cannot_end_a_response() -> None:
    tokenizer = build_tokenizer("characters")
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="no eos"):
        render_response(tokenizer, "1")


@pytest.mark.parametrize("problem", ["", " \n", 3, [], ["text"], [{"role": "user"}], {"role": "user", "content": "x"}])
def test_only_text_and_messages_are_problems(problem) -> None:
    with pytest.raises(DataError, match="row 7"):
        check_problem(problem, "row 7")
