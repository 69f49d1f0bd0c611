import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from trainers import checkpoints
from trainers.checkpoints import (
    CheckpointError,
    best_complete,
    newest_complete,
    problems,
    read_manifest,
    save_checkpoint,
)

pytestmark = pytest.mark.unit


def writer(text: str) -> Callable[[Path], Awaitable[None]]:
    async def write(folder: Path) -> None:
        (folder / "weights.bin").write_text(text)
        (folder / "optimizer").mkdir()
        (folder / "optimizer" / "rank_0.bin").write_text(text * 3)

    return write


async def save(folder: Path, step: int, keep_last: int = 2, text: str = "abc") -> Path:
    return await save_checkpoint(folder, step, writer(text), keep_last=keep_last, version=step, world_size=2)


async def test_a_checkpoint_names_every_file_with_size_and_hash(tmp_path: Path):
    path = await save(tmp_path, 100)
    assert path == tmp_path / "step_000100"
    manifest = read_manifest(path)
    assert (manifest["step"], manifest["version"], manifest["world_size"]) == (100, 100, 2)
    assert sorted(manifest["files"]) == ["optimizer/rank_0.bin", "weights.bin"]
    assert manifest["files"]["weights.bin"]["size"] == 3
    assert problems(path, check_hashes=True) == []


async def test_only_the_newest_are_kept(tmp_path: Path):
    for step in (1, 2, 3, 4):
        await save(tmp_path, step, keep_last=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000003", "step_000004"]


async def test_the_best_is_kept_beside_the_newest_until_another_is_better(tmp_path: Path):
    async def save_with(step: int, best_step: int | None) -> None:
        await save_checkpoint(
            tmp_path, step, writer("abc"), keep_last=1, version=step, world_size=1, best_step=best_step
        )

    await save_with(1, None)
    assert best_complete(tmp_path) == tmp_path / "step_000001"
    await save_with(2, 2)
    await save_with(3, 2)
    await save_with(4, 2)
    assert sorted(p.name for p in tmp_path.glob("step_*")) == ["step_000002", "step_000004"]
    assert (best_complete(tmp_path), newest_complete(tmp_path)) == (tmp_path / "step_000002", tmp_path / "step_000004")
    await save_with(5, 5)
    assert sorted(p.name for p in tmp_path.glob("step_*")) == ["step_000005"]
    await save_with(6, 5)
    (tmp_path / "step_000005" / "weights.bin").unlink()
    assert best_complete(tmp_path) == tmp_path / "step_000006"


@pytest.mark.parametrize("point", ["_prepare", "_seal", "_give_name", "_prune", "write"])
async def test_a_crash_at_any_point_leaves_the_checkpoint_before(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
):
    await save(tmp_path, 1, keep_last=1)

    async def half_written(folder: Path) -> None:
        (folder / "weights.bin").write_text("ab")
        raise KeyboardInterrupt

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    write = half_written if point == "write" else writer("xyz")
    if point != "write":
        monkeypatch.setattr(checkpoints, point, crash)
    with pytest.raises(KeyboardInterrupt):
        await save_checkpoint(tmp_path, 2, write, keep_last=1, version=2, world_size=1)
    newest = newest_complete(tmp_path, check_hashes=True)
    assert newest is not None
    # Only when the new one has its name is it the newest.
    assert newest.name == ("step_000002" if point == "_prune" else "step_000001")
    monkeypatch.undo()
    await save(tmp_path, 3, keep_last=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000003"]


async def test_a_crash_between_any_two_file_writes_is_never_taken_for_a_checkpoint(tmp_path: Path):
    """Every prefix of the files of a checkpoint, even under its final name, is passed over."""
    await save(tmp_path, 1)
    whole = await save(tmp_path / "other", 2)
    files = sorted(p for p in whole.rglob("*") if p.is_file())
    for count in range(len(files)):
        partial = tmp_path / "step_000002"
        for file in [f for f in files if f.name != "manifest.json"][:count]:
            target = partial / file.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        newest = newest_complete(tmp_path)
        assert newest is not None
        assert newest.name == "step_000001"
        shutil.rmtree(partial, ignore_errors=True)


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest", "manifest_type"])
async def test_a_damaged_newest_checkpoint_is_skipped(tmp_path: Path, damage: str):
    await save(tmp_path, 1)
    newest = await save(tmp_path, 2)
    if damage == "truncate":
        (newest / "weights.bin").write_text("ab")
    elif damage == "remove":
        (newest / "optimizer" / "rank_0.bin").unlink()
    elif damage == "manifest":
        (newest / "manifest.json").write_text('{"files"')
    else:
        (newest / "manifest.json").write_text("[]")
    assert newest_complete(tmp_path) == tmp_path / "step_000001"


async def test_hashes_find_what_sizes_do_not(tmp_path: Path):
    await save(tmp_path, 1)
    newest = await save(tmp_path, 2)
    (newest / "weights.bin").write_text("abd")
    assert newest_complete(tmp_path) == newest
    assert newest_complete(tmp_path, check_hashes=True) == tmp_path / "step_000001"
    assert problems(newest, check_hashes=True) == ["weights.bin has other contents than were written"]


async def test_step_numbers_are_compared_as_numbers(tmp_path: Path):
    await save(tmp_path, 999_999)
    newest = await save(tmp_path, 1_000_000)
    (tmp_path / "step_notes").mkdir()
    assert newest_complete(tmp_path) == newest


async def test_the_same_step_is_replaced(tmp_path: Path):
    await save(tmp_path, 5, text="old")
    path = await save(tmp_path, 5, text="newer")
    assert (path / "weights.bin").read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["step_000005"]


async def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage(NamedTuple):
        free: int

    await save(tmp_path, 1)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: Usage(free=10))
    with pytest.raises(CheckpointError, match=r"0 MiB free .*keep_last"):
        await save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000001"]


def test_no_folder_means_no_checkpoint(tmp_path: Path):
    assert newest_complete(tmp_path / "nothing") is None
    with pytest.raises(CheckpointError, match="no readable manifest"):
        read_manifest(tmp_path)


async def test_manifest_is_json_for_people(tmp_path: Path):
    path = await save(tmp_path, 1)
    assert json.loads((path / "manifest.json").read_text())["step"] == 1
