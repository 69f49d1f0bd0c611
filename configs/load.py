"""Reads a run from YAML and overrides. All problems of a file come in one ConfigError, in the user's own words.

YAML is read as plain data: no tags that build objects, duplicate keys refused, `3e-4` is a number. Types are strict:
text is never turned into a number, nor true into 1.
"""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from configs.errors import ConfigError
from configs.paths import find_path_problems
from configs.pipeline import AnyConfig, PipelineRun, config_adapter
from configs.rules import find_problems
from configs.run import AnyRun, DistillRun, GrpoRun, RejectionRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from configs.schema import Slot, describe, keys_below, resolve, tags
from configs.yaml_text import parse_yaml

RUNS = {
    "grpo": GrpoRun,
    "sft": SftRun,
    "star": StarRun,
    "reward_model": RewardModelRun,
    "step_labels": StepLabelsRun,
    "rejection": RejectionRun,
    "distill": DistillRun,
    "pipeline": PipelineRun,
}
KINDS = {bool: "true/false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


def load_run(path: str | Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> AnyRun:
    """Read, override, validate. Overrides are `key.sub=value`, the value in YAML; `stages.0.steps=5` indexes a list.

    `check_paths=False` accepts model folders and data files that do not exist on this machine. Relative paths are
    relative to the working directory. Raises ConfigError.
    """
    tree = read_tree(path)
    for override in overrides:
        apply_override(tree, override)
    return parse_run(tree, source=str(path), check_paths=check_paths)


def read_tree(path: str | Path) -> dict[str, Any]:
    """The plain values of a YAML file. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), [f"cannot be read: {reason}; give the path of a YAML config"]) from error
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ConfigError(str(path), [f"expected a mapping of keys to values, found {_kind(raw)}"])
    return cast(dict[str, Any], raw)


def parse_run(tree: dict[str, Any], *, source: str = "config", check_paths: bool = True) -> AnyRun:
    """Validate a tree of plain values: types first, then the rules across fields. Raises ConfigError."""
    run = parse_types(tree, source=source)
    if isinstance(run, PipelineRun):
        problem = "method = pipeline: a single run is needed here; give the config of a stage, which lies in its folder"
        raise ConfigError(source, [problem])
    problems = find_problems(run) + (find_path_problems(run) if check_paths else [])
    if problems:
        raise ConfigError(source, problems)
    return run


def parse_types(tree: dict[str, Any], *, source: str) -> AnyConfig:
    """Validate keys and types alone. Raises ConfigError."""
    try:
        return config_adapter.validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        problems = [_explain(details) for details in error.errors(include_url=False) if not _is_echo(details)]
        raise ConfigError(source, problems) from None


def dump_run(run: AnyConfig) -> str:
    """The resolved config as YAML, every default written out; `load_run` reads it back to an equal run."""
    return yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


# ------------------------------------------------------------------------------------------------------- overrides


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key in place, given as `key.sub=value`. Raises ConfigError."""
    source = f"override `{override}`"
    key, equals, text = override.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise ConfigError(source, ["expected `key.sub=value`, such as `rollout.group_size=16`"])
    set_key(tree, key.strip(), parse_yaml(text, source), source=source)


def set_key(tree: dict[str, Any], key: str, value: Any, *, source: str) -> None:
    """Set one dotted key in place, making the sections on the way to it. Raises ConfigError."""
    parts = key.split(".")
    node: Any = tree
    for depth, part in enumerate(parts[:-1]):
        if isinstance(node, list):
            node = cast(list[Any], node)[_index(cast(list[Any], node), parts, depth, source)]
        elif isinstance(node, dict):
            mapping = cast(dict[str, Any], node)
            if mapping.get(part) is None:
                mapping[part] = {}
            node = mapping[part]
        else:
            raise ConfigError(source, [f"`{'.'.join(parts[:depth])}` is {_show(node)}; it has no key `{part}`"])
    if isinstance(node, list):
        cast(list[Any], node)[_index(cast(list[Any], node), parts, len(parts) - 1, source)] = value
    elif isinstance(node, dict):
        cast(dict[str, Any], node)[parts[-1]] = value
    else:
        raise ConfigError(source, [f"`{'.'.join(parts[:-1])}` is {_show(node)}; it has no key `{parts[-1]}`"])


def _index(items: list[Any], parts: list[str], depth: int, source: str) -> int:
    if parts[depth].isdecimal() and int(parts[depth]) < len(items):
        return int(parts[depth])
    place = ".".join(parts[:depth])
    has = f"its items are {place}.0 to {place}.{len(items) - 1}" if items else "it is empty"
    raise ConfigError(source, [f"`{place}` is a list and has no item `{parts[depth]}`; {has}"])


# ------------------------------------------------------------------------------------------------------ explanations


def _is_echo(details: ErrorDetails) -> bool:
    """A list with a bad item is also reported as too short; the item's own error says enough."""
    given = details["input"]
    return details["type"] == "too_short" and isinstance(given, list) and bool(cast(list[Any], given))


def _explain(details: ErrorDetails) -> str:
    path, slot = resolve(details["loc"])
    place = ".".join(str(part) for part in path)
    given = details["input"]
    match details["type"]:
        case "extra_forbidden":
            hint = _suggest_key(str(path[-1]), resolve(details["loc"][:-1])[1], method=details["loc"][0])
            return f"{place} = {_show(given)}: unknown key; {hint}"
        case "missing" if slot:
            return f"{place}: missing; expected {_expected(slot)}"
        case "union_tag_not_found" if slot and isinstance(given, dict):
            key = "type" if path else "method"
            return f"{place + '.' if place else ''}{key}: missing; expected one of {_quoted(tags(slot))}"
        case "union_tag_invalid" if slot:
            key = details.get("ctx", {}).get("discriminator", "type").strip("'")
            tag = cast(dict[str, Any], given)[key]
            close = _did_you_mean(str(tag), tags(slot))
            return f"{place + '.' if place else ''}{key} = {_show(tag)}: expected one of {_quoted(tags(slot))}{close}"
        case "literal_error" if slot:
            close = _did_you_mean(str(given), [str(v) for m in slot.members for v in getattr(m, "__args__", ())])
            return f"{place} = {_show(given)}: expected {_expected(slot)}{close}"
        case "finite_number":
            return f"{place} = {_show(given)}: expected a finite number"
        case _:
            expected = _expected(slot) if slot else details["msg"]
            return f"{place} = {_show(given)}, which is {_kind(given)}: expected {expected}"


def _suggest_key(key: str, parent: Slot | None, method: str | int) -> str:
    section = parent.sections[0] if parent and parent.sections else None
    if section is None:
        return "remove it"
    ours = RUNS.get(str(method), GrpoRun)
    others = [name for name, other in RUNS.items() if other is not ours and key in other.model_fields]
    if section is ours and others:
        return f"it is a key of `method: {others[0]}`"
    own = list(section.model_fields)
    if close := difflib.get_close_matches(key, own, n=1):
        return f"did you mean `{close[0]}`?"
    if elsewhere := [path for name, path in keys_below(ours) if name == key]:
        return f"did you mean {_quoted(elsewhere[:3])}?"
    return f"the keys here are {_quoted(own)}"


def _did_you_mean(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _expected(slot: Slot) -> str:
    words = describe(slot)
    return f"a {words}" if words.startswith(("whole", "number", "section", "list", "mapping")) else words


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _kind(value: Any) -> str:
    if value is None:
        return "empty (null)"
    return next((words for kind, words in KINDS.items() if isinstance(value, kind)), "of no plain type")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
