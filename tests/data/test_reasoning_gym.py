"""Problems of reasoning-gym: drawn by seed, split by question; what cannot be drawn is refused with a remedy."""

import importlib.util
import sys
from random import Random
from typing import Any

import pytest

from configs.prompts import ReasoningGymPrompts
from data.errors import DataError
from data.prompt_source import PromptSource
from data.reasoning_gym import INSTALL, Gym, read_entry, side, write_entry
from data.vocabulary import build_tokenizer
from tests.data.reasoning_gym_standin import install

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        install(monkeypatch)


def test_a_problem_hangs_on_the_random_numbers_alone():
    config = ReasoningGymPrompts(task="sums", options={"largest": 500})
    assert Gym(config).draw(Random(3), "train") == Gym(config).draw(Random(3), "train")
    assert Gym(config).draw(Random(3), "train") != Gym(config).draw(Random(4), "train")


def test_no_question_is_on_both_sides_of_the_split_however_few_there_are():
    gym = Gym(ReasoningGymPrompts(task="sums", options={"largest": 9}))
    train, held_out = ({gym.draw(Random(n), s).question for n in range(200)} for s in ("train", "held_out"))
    assert train
    assert held_out
    assert not train & held_out
    assert {side(question) for question in held_out} == {"held_out"}


def test_the_reference_holds_what_the_scorer_needs():
    problem = Gym(ReasoningGymPrompts(task="sums", options={"largest": 50})).draw(Random(1), "train")
    assert problem.reference["task"] == "sums"
    assert problem.reference["options"] == {"largest": 50}
    assert read_entry(problem.reference["entry"])["question"] == problem.question
    assert problem.reference["answer"] == str(read_entry(problem.reference["entry"])["answer"])


def test_an_entry_comes_back_with_its_tuples():
    entry = {"answer": ((1, 2), [3]), "metadata": {"deep": [{"grid": (0,)}], "none": None}}
    assert read_entry(write_entry(entry)) == entry


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "sum"}, r"no such task; did you mean 'sums'\?"),
        ({"task": "xyz"}, r"no such task; there are: same, sums"),
        ({"task": "sums", "options": {"lagest": 5}}, r"options\.lagest.*did you mean 'largest'\?"),
        ({"task": "sums", "options": {"seed": 5}}, r"options\.seed: it is drawn for every problem"),
        ({"task": "sums", "options": {"largest": -1}}, r"gives no problem: AssertionError: largest must be positive"),
        ({"task": "sums", "options": {"largest": "many"}}, r"gives no problem: TypeError"),
        ({"task": "same", "split": "train"}, r"gave no question on the side 'train'.*make the problems larger"),
    ],
)
def test_what_gives_no_problem_is_refused_with_a_remedy(settings: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        Gym(ReasoningGymPrompts(**settings))


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(DataError, match=r"pip install -e '\.\[reasoning-gym\]'"):
        Gym(ReasoningGymPrompts(task="sums"))


def test_prompts_go_on_where_their_state_was_taken():
    def source() -> PromptSource:
        config = ReasoningGymPrompts(task="sums", template="raw")
        return PromptSource(config, build_tokenizer("characters"), 7, max_prompt_tokens=64)

    whole = source()
    prompts = [whole.take().prompt_id for _ in range(6)]
    first, second = source(), source()
    assert [first.take().prompt_id for _ in range(3)] == prompts[:3]
    second.restore(first.state())
    assert [second.take().prompt_id for _ in range(3)] == prompts[3:]


def test_evaluation_has_as_many_different_problems_as_asked_for_and_the_same_for_every_seed():
    config = ReasoningGymPrompts(task="sums", template="raw", split="held_out")
    one, other = (
        PromptSource(config, build_tokenizer("characters"), seed, max_prompt_tokens=64).first(20) for seed in (1, 2)
    )
    assert [p.prompt_id for p in one] == [p.prompt_id for p in other]
    assert len({p.prompt_id for p in one}) == 20


def test_there_are_no_hints():
    source = PromptSource(
        ReasoningGymPrompts(task="sums", template="raw"), build_tokenizer("characters"), 0, max_prompt_tokens=64
    )
    with pytest.raises(DataError, match="reasoning_gym have no hints"):
        source.check_hints()


@pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason=f"the package reasoning-gym is not installed: {INSTALL}",
)
def test_the_real_package_has_what_is_asked_of_it():
    gym = Gym(ReasoningGymPrompts(task="leg_counting", options={"max_animals": 3}))
    assert gym.draw(Random(1), "held_out") == gym.draw(Random(1), "held_out")
    with pytest.raises(DataError, match="did you mean 'leg_counting'"):
        Gym(ReasoningGymPrompts(task="leg_countin"))
    with pytest.raises(DataError, match="gives no problem"):
        Gym(ReasoningGymPrompts(task="leg_counting", options={"max_animals": -1}))
