"""Checkpoints that are whole or not there, under `runs/<name>/checkpoints/step_000100/`. Standard library only.

A checkpoint is written under a temporary name; every file and folder is fsynced; the manifest, with size and hash of
every file, is written last; then the folder gets its name. Whoever looks for the newest checkpoint scans newest first
and takes the first whose manifest holds, so a crash at any moment costs at most the work since the one before.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished_"
_DISCARDED = ".discarded_"
_SPARE_BYTES = 64 * 2**20  # left free beside the checkpoint, for logs and rollouts


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or the one asked for is not whole."""


async def save_checkpoint(
    folder: Path,
    step: int,
    write: Callable[[Path], Awaitable[None]],
    *,
    keep_last: int,
    version: int,
    world_size: int,
    best_step: int | None = None,
) -> Path:
    """Write one checkpoint with `write(temporary_folder)`, then delete all but the newest `keep_last`.

    The checkpoint of `best_step`, this one or an older one, is kept besides and is what `best_complete` finds. A
    checkpoint of the same step is replaced. Free space is compared with the size of the newest checkpoint first.
    Raises CheckpointError when there is too little; what `write` raises passes through and leaves no checkpoint.
    """
    target = _of_step(folder, step)
    unfinished = folder / f"{_UNFINISHED}{target.name}"
    facts = {"step": step, "version": version, "world_size": world_size, "best_step": best_step}
    await asyncio.to_thread(_prepare, folder, unfinished)
    await write(unfinished)
    await asyncio.to_thread(_seal, unfinished, facts)
    await asyncio.to_thread(_give_name, unfinished, target)
    await asyncio.to_thread(_prune, folder, keep_last)
    return target


def newest_complete(folder: Path, *, check_hashes: bool = False) -> Path | None:
    """The newest checkpoint whose files all have the size (and, when asked, the hash) that its manifest names."""
    for candidate in _by_age(folder):
        if not problems(candidate, check_hashes=check_hashes):
            return candidate
    return None


def best_complete(folder: Path) -> Path | None:
    """The checkpoint that the newest complete one names as the best when it is whole, otherwise that one."""
    newest = newest_complete(folder)
    best = newest and _best(newest)
    return best if best and not problems(best, check_hashes=False) else newest


def complete_steps(folder: Path) -> set[int]:
    """The steps of which there is a complete checkpoint."""
    return {read_manifest(checkpoint)["step"] for checkpoint in _complete(folder)}


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """step, version, world_size, best_step and files of a checkpoint. Raises CheckpointError when there is none."""
    try:
        return json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint} has no readable {MANIFEST} ({error}); choose another checkpoint"
        ) from error


def problems(checkpoint: Path, *, check_hashes: bool) -> list[str]:
    """Why a checkpoint is not whole; empty when it is."""
    try:
        files: dict[str, dict[str, Any]] = read_manifest(checkpoint)["files"]
    except (CheckpointError, KeyError, TypeError) as error:
        return [f"manifest: {error}"]
    found: list[str] = []
    for name, expected in files.items():
        path = checkpoint / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != expected["size"]:
            found.append(f"{name} has {path.stat().st_size} bytes, {expected['size']} were written")
        elif check_hashes and _sha256(path) != expected["sha256"]:
            found.append(f"{name} has other contents than were written")
    return found


def _prepare(folder: Path, unfinished: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in [*folder.glob(f"{_UNFINISHED}*"), *folder.glob(f"{_DISCARDED}*")]:
        shutil.rmtree(leftover)
    newest = newest_complete(folder)
    if newest is not None:
        sizes: list[int] = [entry["size"] for entry in read_manifest(newest)["files"].values()]
        needed, free = sum(sizes) + _SPARE_BYTES, shutil.disk_usage(folder).free
        if free < needed:
            raise CheckpointError(
                f"{folder} has {free / 2**20:.0f} MiB free and the next checkpoint needs about {needed / 2**20:.0f} "
                "MiB, as the last one did. Free some space or lower checkpoints.keep_last."
            )
    unfinished.mkdir()


def _seal(checkpoint: Path, facts: dict[str, int | None]) -> None:
    """fsync everything, then write the manifest."""
    paths = sorted(p for p in checkpoint.rglob("*") if p.is_file())
    files = {str(p.relative_to(checkpoint)): {"size": p.stat().st_size, "sha256": _sha256(p)} for p in paths}
    for path in [*paths, *(p for p in checkpoint.rglob("*") if p.is_dir())]:
        _fsync(path)
    manifest = checkpoint / MANIFEST
    manifest.write_text(json.dumps(facts | {"files": files}, indent=1), encoding="utf-8")
    _fsync(manifest)
    _fsync(checkpoint)


def _give_name(unfinished: Path, target: Path) -> None:
    if target.exists():
        target.rename(target.with_name(f"{_DISCARDED}{target.name}"))
    unfinished.rename(target)
    _fsync(target.parent)


def _best(checkpoint: Path) -> Path | None:
    step: int | None = read_manifest(checkpoint).get("best_step")
    return None if step is None else _of_step(checkpoint.parent, step)


def _prune(folder: Path, keep_last: int) -> None:
    """Delete what is replaced, and complete checkpoints beyond the newest; only now, when the new one is whole.

    Deleting starts with a new name, so that no half-deleted folder looks like a checkpoint.
    """
    best = best_complete(folder)
    for old in [checkpoint for checkpoint in _complete(folder)[keep_last:] if checkpoint != best]:
        old.rename(old.with_name(f"{_DISCARDED}{old.name}"))
    for discarded in folder.glob(f"{_DISCARDED}*"):
        shutil.rmtree(discarded)


def _of_step(folder: Path, step: int) -> Path:
    return folder / f"step_{step:06d}"


def _complete(folder: Path) -> list[Path]:
    """Newest step first."""
    return [checkpoint for checkpoint in _by_age(folder) if not problems(checkpoint, check_hashes=False)]


def _by_age(folder: Path) -> list[Path]:
    """Checkpoint folders, newest step first."""
    numbered = [(p.name.removeprefix("step_"), p) for p in folder.glob("step_*")]
    return [p for digits, p in sorted(numbered, key=lambda n: n[0].zfill(20), reverse=True) if digits.isdigit()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
