"""What is said when learner ranks fail: who, and why. The ranks are stand-ins; tests/integration has real ones."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors.learner_group import LearnerDied, LearnerGroup
from configs.engines import Learner

pytestmark = pytest.mark.unit

Answer = Callable[[], Awaitable[Any]]


class Rank:
    """An actor whose every method answers as told."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.save = self

    def remote(self, *arguments: object) -> Awaitable[Any]:
        return self._answer()


async def well() -> None:
    return None


async def dead() -> None:
    await asyncio.sleep(0)  # a turn later than the complaint of the peer
    raise RayActorError(error_msg="the worker process was killed")


async def bereft() -> None:
    raise RuntimeError("connection closed by peer")


async def silent() -> None:
    await asyncio.Event().wait()


async def save(folder: Path, *answers: Answer, step_timeout_s: float = 60) -> None:
    learner = Learner(ranks=len(answers), step_timeout_s=step_timeout_s)
    await LearnerGroup([Rank(answer) for answer in answers], learner, folder).save(folder, export=False)


async def test_ranks_that_answer_are_enough(tmp_path: Path) -> None:
    await save(tmp_path, well, well)


async def test_the_dead_rank_is_named_with_its_log_and_not_the_one_that_complains_first(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "learner-2.log").write_text("the last thing it said\n")
    with pytest.raises(LearnerDied, match="could not save: rank 2 died: the worker process was killed") as caught:
        await save(tmp_path, bereft, well, dead)
    assert "the last thing it said" in str(caught.value)
    assert "closed by peer" not in str(caught.value)


async def test_a_rank_that_raises_is_named_when_none_is_dead(tmp_path: Path) -> None:
    with pytest.raises(LearnerDied, match="rank 1 failed: connection closed by peer"):
        await save(tmp_path, well, bereft)


async def test_silent_ranks_are_named_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.learner_group.LAST_WORDS_S", 0.01)
    with pytest.raises(LearnerDied, match=r"within 0.05 s \(no answer from rank 1, 2\).*logs/learner-1.log"):
        await save(tmp_path, well, silent, silent, step_timeout_s=0.05)


async def test_a_rank_that_waits_for_a_dead_one_does_not_hold_the_error_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.learner_group.LAST_WORDS_S", 0.01)
    async with asyncio.timeout(5):
        with pytest.raises(LearnerDied, match="rank 0 died"):
            await save(tmp_path, dead, silent)
