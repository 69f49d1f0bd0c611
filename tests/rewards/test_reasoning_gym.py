"""Scorers that evaluate answers: those of a stand-in, which runs whatever it is given, and those of the package."""

import asyncio
import importlib.util
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from configs.prompts import ReasoningGymPrompts
from data.reasoning_gym import INSTALL, Gym, load_package, write_entry
from rewards.reasoning_gym import ReasoningGymReward
from rewards.sample import Sample, Score
from rewards.verifier_pool import VerifierUnavailable

pytestmark = pytest.mark.integration

# Its `run` is the `eval` of before the guard took its place: what a scorer of a later version may bring along.
STAND_IN = """
import builtins, os, socket
run = builtins.eval
class Dataset:
    def __init__(self, options):
        self.options = options
        self.calls = 0
    def score_answer(self, answer, entry):
        self.calls += 1
        if self.options.get("guarded"):
            return float(eval(answer) == eval(entry["answer"]))
        return float(run(answer))
def create_dataset(task, size, **options):
    return Dataset(options)
"""


def sample(answer: str, **options: Any) -> Sample:
    entry = write_entry({"question": "?", "answer": "7", "metadata": {}})
    return Sample("", f"<answer>{answer}</answer>", {"task": "any", "options": options, "entry": entry})


@pytest_asyncio.fixture
async def reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReasoningGymReward]:
    """On the stand-in, with one process."""
    (tmp_path / "reasoning_gym.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    reward = ReasoningGymReward(timeout_s=2.0, workers=1)
    await reward.start()
    yield reward
    await reward.close()


async def test_an_answer_is_scored(reward: ReasoningGymReward):
    assert await reward(sample("0.5")) == Score(0.5)
    assert (await reward(sample("3 + 4", guarded=True))).value == 1.0


async def test_an_answer_that_runs_code_reaches_nothing(reward: ReasoningGymReward, tmp_path: Path):
    mark = tmp_path / "mark"
    for attack in (
        f"__import__('os').system('touch {mark}') == 0",
        f"__import__('subprocess').call(['touch', '{mark}']) == 0",
        f"open('{mark}', 'w') and 1",
        "len(open('/etc/passwd').read()) > 0",
        f"len(open('{__file__}').read()) > 0",
        "socket.socket() and 1",
        "os.kill(os.getppid(), 9) or 1",
        "os.fork() >= 0",
        "len(os.listdir('/proc')) > 0",
        "len(os.environ) and bool(open('/proc/self/environ'))",
    ):
        assert (await reward(sample(attack))).value == 0.0, attack
    assert not mark.exists()
    assert (await reward(sample("1"))).value == 1.0


async def test_the_guard_stands_before_the_walls(reward: ReasoningGymReward):
    seen = "__import__('sys')._getframe(1).f_locals['entry']['answer']"
    assert (await reward(sample(seen, guarded=True))).value == 0.0
    assert (await reward(sample("(lambda: 7)()", guarded=True))).value == 0.0


async def test_an_answer_finds_nothing_that_another_one_left(reward: ReasoningGymReward):
    await reward(sample("setattr(self, 'score_answer', lambda *_: 1.0) or 0"))
    await reward(sample("exec('import builtins; builtins.float = lambda _: 1.0') or 0"))
    assert (await reward(sample("0"))).value == 0.0
    assert (await reward(sample("self.calls / 10"))).value == 0.1


async def test_an_answer_without_end_or_bound_scores_zero_and_the_next_is_served(reward: ReasoningGymReward):
    for attack in (
        "exec('while True: pass')",
        "__import__('time').sleep(60)",
        "exec('import signal\\nsignal.setitimer(signal.ITIMER_PROF, 0)\\nwhile True: pass')",
        "len(bytearray(1 << 34))",
        "os._exit(0)",
        "os.write(3, b'{\"score\": ') and os._exit(0)",
        "exec('while os.write(3, bytes(65536)): pass')",
        "1 / 0",
        "__import__('ctypes').string_at(0)",
    ):
        started = time.monotonic()
        assert (await reward(sample(attack))).value == 0.0, attack
        assert time.monotonic() - started < 60
    assert (await reward(sample("1"))).value == 1.0


async def test_a_score_out_of_range_is_an_error_and_not_a_score(reward: ReasoningGymReward):
    for answer in ("2", "-1", "1e999"):
        with pytest.raises(ValueError, match="finite number"):
            await reward(sample(answer))


async def test_a_caller_that_gives_up_ends_the_child_and_the_next_is_served(reward: ReasoningGymReward):
    for wait_s in (0.0, 0.02, 0.2):
        stuck = asyncio.create_task(reward(sample("__import__('time').sleep(60)")))
        await asyncio.sleep(wait_s)
        stuck.cancel()
        await asyncio.wait([stuck])
        assert (await reward(sample("1"))).value == 1.0


async def test_only_the_last_answer_outside_the_thoughts_counts(reward: ReasoningGymReward):
    reference = sample("").reference
    for response, value in (
        ("<think><answer>1</answer></think>", 0.0),
        ("<think><answer>1</answer></think><answer>0</answer>", 0.0),
        ("<answer>0</answer> <answer> 1 </answer>", 1.0),
        ("1", 0.0),
    ):
        assert (await reward(Sample("", response, reference))).value == value, response


async def test_a_reference_of_other_prompts_is_an_error_that_says_so(reward: ReasoningGymReward):
    with pytest.raises(ValueError, match="prompts of type reasoning_gym"):
        await reward(Sample("", "<answer>1</answer>", {"answer": "1"}))


async def test_without_the_package_it_does_not_start_and_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "reasoning_gym.py").write_text("raise ModuleNotFoundError('no', name='reasoning_gym')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(VerifierUnavailable, match=r"pip install -e '\.\[reasoning-gym\]'"):
        await ReasoningGymReward(timeout_s=1.0, workers=1).start()


# ------------------------------------------------------------------------------------------------- with the package

with_package = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason=f"the package reasoning-gym is not installed: {INSTALL}",
)
SOME_TASKS = ("leg_counting", "n_queens", "spiral_matrix", "binary_matrix", "string_insertion", "bitwise_arithmetic")
EVALUATES = (*SOME_TASKS, "polynomial_multiplication", "simple_integration", "number_sorting", "puzzle24", "countdown")


@pytest_asyncio.fixture
async def real() -> AsyncIterator[ReasoningGymReward]:
    reward = ReasoningGymReward(timeout_s=5.0, workers=1)
    await reward.start()
    yield reward
    await reward.close()


def problem(task: str, number: int = 0) -> dict[str, Any]:
    return Gym(ReasoningGymPrompts(task=task)).draw(Random(number), "train").reference


@with_package
async def test_the_package_s_own_answers_are_right(real: ReasoningGymReward):
    for task in EVALUATES:
        for number in range(3):
            reference = problem(task, number)
            answer = f"<answer>{reference['answer']}</answer>"
            assert (await real(Sample("", answer, reference))).value == 1.0, (task, reference["answer"])


@with_package
async def test_no_answer_reads_the_right_one_or_runs_a_program(real: ReasoningGymReward, tmp_path: Path):
    attacks: tuple[Callable[[], str], ...] = (
        lambda: f"__import__('os').system('touch {tmp_path}/mark')",
        lambda: "list(__import__('sys')._getframe(1).f_locals['entry']['answer'])",
        lambda: "exec(chr(49))",
        lambda: "nan",
        lambda: "None",
    )
    for task in EVALUATES:
        for attack in attacks:
            score = await real(Sample("", f"<answer>{attack()}</answer>", problem(task)))
            assert score.value <= 0.05, (task, attack())
    assert not os.listdir(tmp_path)


@with_package
@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("complex_arithmetic", "nan"),
        ("complex_arithmetic", "nan+nanj"),
        ("puzzle24", "8*3*1*1"),
        ("countdown", "(pi/pi+pi/pi)"),
        ("game_of_life_halting", "no idea"),
        ("coin_flip", "0"),
        ("coin_flip", "1/0"),
    ],
)
async def test_what_the_package_takes_for_right_and_is_no_answer_scores_zero(
    real: ReasoningGymReward, task: str, answer: str
):
    for number in range(3):
        assert (await real(Sample("", f"<answer>{answer}</answer>", problem(task, number)))).value == 0.0


@with_package
async def test_what_is_held_tighter_than_by_the_package_still_takes_its_answers(real: ReasoningGymReward):
    for task in ("complex_arithmetic", "puzzle24", "countdown", "game_of_life_halting", "coin_flip"):
        for number in range(5):
            reference = problem(task, number)
            sample = Sample("", f"<answer>{reference['answer']}</answer>", reference)
            assert (await real(sample)).value == 1.0, (task, reference["answer"])


@with_package
async def test_no_one_answer_is_right_for_both_kinds_of_patterns(real: ReasoningGymReward):
    references = [problem("game_of_life_halting", number) for number in range(12)]
    assert {reference["answer"] for reference in references} == {"True", "False"}
    for answer in ("True", "False"):
        values = [(await real(Sample("", f"<answer>{answer}</answer>", r))).value for r in references]
        assert values == [float(reference["answer"] == answer) for reference in references]


@with_package
def test_every_scorer_of_the_package_that_evaluates_is_known_here():
    """A later version may bring another one: then EVALUATES, and perhaps rewards/safe_eval.py, must know it."""
    package = Path(load_package().__file__).parent
    found = {
        path.stem
        for path in package.rglob("*.py")
        if "eval(answer)" in (text := path.read_text()) or "parse_expr(answer" in text
    }
    known = {"intermediate_integration", *EVALUATES}
    assert found <= known, found - known
