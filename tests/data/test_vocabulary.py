"""Symbols are single tokens, text survives the round trip, and a saved folder loads offline beside a Qwen3 config."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from data.vocabulary import build_tokenizer

pytestmark = pytest.mark.unit

TEXTS = {
    "characters": "676+236:<think>6+6+0=12;7+3+1=11;6+2+1=09</think><answer>912</answer>\nok (so), why?!",
    "countdown": "14=8,2,1:<think>8+2=10,+1=11,-1=9;04 100 \n</think> <answer>(8+2)*1/3</answer>",
}


@pytest.mark.parametrize("name", ["characters", "countdown"])
def test_decoding_what_was_encoded_gives_the_text(name: Any) -> None:
    tokenizer = build_tokenizer(name)
    ids = tokenizer.encode(TEXTS[name])
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXTS[name]


@pytest.mark.parametrize("name", ["characters", "countdown"])
def test_every_sequence_of_symbols_decodes_to_their_texts_joined(name: Any) -> None:
    tokenizer = build_tokenizer(name)
    rng = Random(0)
    for _ in range(50):
        ids = [rng.randrange(3, len(tokenizer)) for _ in range(20)]
        assert tokenizer.decode(ids) == "".join(str(tokenizer.convert_ids_to_tokens(i)) for i in ids)


def test_sizes_need_no_padding_to_a_multiple_of_64() -> None:
    assert len(build_tokenizer("characters")) == 64
    assert len(build_tokenizer("countdown")) == 128


def test_prompts_start_with_bos_and_responses_do_not() -> None:
    tokenizer = build_tokenizer("characters")
    assert tokenizer.encode("1")[0] == tokenizer.bos_token_id
    assert tokenizer.encode("1", add_special_tokens=False) == [tokenizer.convert_tokens_to_ids("1")]


@pytest.mark.parametrize("name", ["characters", "countdown"])
def test_tags_are_one_token_and_stay_visible_while_special_tokens_are_skipped(name: Any) -> None:
    tokenizer = build_tokenizer(name)
    tags = "<think></think><answer></answer>"
    ids = tokenizer.encode(f"<pad>{tags}<eos>")
    assert len(ids) == 7
    assert tokenizer.decode(ids, skip_special_tokens=True) == tags


def test_numbers_up_to_99_are_one_token_and_written_without_leading_zero() -> None:
    tokenizer = build_tokenizer("countdown")
    assert [len(tokenizer.encode(str(n), add_special_tokens=False)) for n in range(100)] == [1] * 100
    four = tokenizer.convert_tokens_to_ids(["0", "4"])
    assert tokenizer.decode(four) == "04"
    assert tokenizer.encode("04", add_special_tokens=False) == four


def test_a_saved_folder_loads_offline_beside_a_qwen3_config(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = build_tokenizer("countdown")
    tokenizer.save_pretrained(tmp_path)
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.encode(TEXTS["countdown"]) == tokenizer.encode(TEXTS["countdown"])
    assert loaded.decode(loaded.encode("<think>04"), skip_special_tokens=True) == "<think>04"
    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.bos_token_id) == ids == (0, 1, 2)
