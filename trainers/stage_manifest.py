"""What a stage of a pipeline was made from and what it left, in `stage.json` in its folder. Standard library only.

The manifest appears when the stage begins, with the hashes of its config and inputs, and is replaced when the stage is
done, with the hashes of its outputs: always whole, in one move, last. Files are hashed once per command, and again only
when their size or time has changed.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

MANIFEST = "stage.json"

Hashes = Mapping[str, Mapping[str, str]]  # input or output -> file within it -> SHA-256
_known: dict[tuple[str, int, int], str] = {}  # (path, size, time in ns) -> SHA-256


@dataclass(frozen=True, slots=True)
class StageManifest:
    """The contents of `stage.json`."""

    status: Literal["started", "done"]
    config: Mapping[str, Any]  # what decides the stage's result
    config_sha256: str
    inputs: Hashes  # by the key of the config that names the input
    outputs: Hashes = field(default_factory=dict[str, dict[str, str]])  # empty until it is done
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the run's summary; empty until it is done
    wall_s: float = 0.0  # of all attempts but those that were killed

    @staticmethod
    def load(folder: Path) -> "StageManifest | None":
        """None when the stage has not begun. Raises ValueError for a file that cannot be read."""
        path = folder / MANIFEST
        if not path.exists():
            return None
        try:
            return StageManifest(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}); run the stage again with --from {folder.name}"
            ) from error

    def save(self, folder: Path) -> None:
        """Replace the file in one move."""
        write_json(folder / MANIFEST, asdict(self))


def write_json(path: Path, value: Any) -> None:
    """The whole file or none of it, also when the machine goes down."""
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def hash_config(config: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def hash_files(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file of a folder, by name within it; empty when there is nothing."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(file.relative_to(path)): _sha256(file) for file in files}
    return {path.name: _sha256(path)} if path.is_file() else {}


def _sha256(path: Path) -> str:
    facts = path.stat()
    key = (str(path.resolve()), facts.st_size, facts.st_mtime_ns)
    if key not in _known:
        with path.open("rb") as file:
            _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[key]


def changed_files(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Names of files whose contents differ, each with what happened to it."""
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            yield f"{name} is gone"
        elif name not in then:
            yield f"{name} is new"
        elif then[name] != now[name]:
            yield f"{name} has other contents"


def changed_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """`key = now, was then` for every dotted key of two configs that differ."""
    before, after = dict(_flat(then)), dict(_flat(now))
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            yield f"{key} = {json.dumps(after.get(key))}, was {json.dumps(before.get(key))}"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(cast(Mapping[str, Any], value).items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(cast(list[Any], value)))
    if not items:
        yield prefix, value
    for key, inner in items:
        yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
