"""What `rayzero eval --policy` takes: a model folder, a checkpoint, or a run."""

from pathlib import Path

import pytest

from cli.evaluate import find_policy, policy_of_run
from configs.errors import ConfigError
from trainers.checkpoints import save_checkpoint

pytestmark = pytest.mark.unit


def make_policy(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


async def write_policy(checkpoint: Path) -> None:
    make_policy(checkpoint / "policy")


async def write_no_policy(checkpoint: Path) -> None:
    (checkpoint / "loop.json").write_text("{}")


async def save(run: Path, step: int, best_step: int | None = None) -> Path:
    return await save_checkpoint(
        run / "checkpoints", step, write_policy, keep_last=9, version=step, world_size=1, best_step=best_step
    )


def test_a_model_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_policy(make_policy(tmp_path / "model")) == tmp_path / "model"


async def test_a_checkpoint_gives_its_policy(tmp_path: Path) -> None:
    checkpoint = await save(tmp_path, 3)
    assert find_policy(checkpoint) == checkpoint / "policy"


async def test_a_run_gives_the_policy_of_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    older = await save(tmp_path, 9)
    newer = await save(tmp_path, 10)
    assert find_policy(tmp_path) == newer / "policy"
    (newer / "policy" / "config.json").write_text("cut off in the middle of a copy")
    assert find_policy(tmp_path) == older / "policy"


async def test_a_run_that_marks_its_best_checkpoint_gives_that_one(tmp_path: Path) -> None:
    best = await save(tmp_path, 1, best_step=1)
    await save(tmp_path, 2, best_step=1)
    assert find_policy(tmp_path) == best / "policy"


async def test_the_policy_of_a_run_lies_in_its_checkpoint_and_not_behind_a_link_beside_it(tmp_path: Path) -> None:
    older = await save(tmp_path, 1)
    (tmp_path / "policy").symlink_to(older / "policy")
    newer = await save(tmp_path, 2)
    assert policy_of_run(tmp_path) == newer / "policy"


def test_a_supervised_run_gives_its_final_policy(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "checkpoints" / "final" / "policy")
    assert find_policy(tmp_path) == policy


async def test_anything_else_is_refused_with_what_would_do(tmp_path: Path) -> None:
    await save_checkpoint(tmp_path / "checkpoints", 1, write_no_policy, keep_last=9, version=1, world_size=1)
    for folder in (tmp_path, tmp_path / "checkpoints", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"checkpoints\.export"):
            find_policy(folder)
