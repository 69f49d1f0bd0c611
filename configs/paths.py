"""Do the folders and files that a config names exist, whole? Names and small JSON files are read, never weights."""

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from configs.distill import HardDistillation, RecordedTeacher, ScoringTeacher
from configs.distill_parts import parts_of
from configs.policy import FolderPolicy
from configs.prompts import RowPrompts, RowTraces
from configs.reward_model_rules import score_path_problems
from configs.run import AnyRun, DistillRun, SftRun, sources_of

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def find_path_problems(run: AnyRun, *, promised: Set[str] = frozenset()) -> list[str]:
    """One line for each missing or unfit file. Relative paths are relative to the working directory.

    `promised`: paths that are not looked at, because an earlier stage of a pipeline will make them.
    """
    if isinstance(run, DistillRun):
        return _of_distillation(run, promised)
    policy = run.policy
    problems = _policy(run, policy) if isinstance(policy, FolderPolicy) and policy.path not in promised else ()
    return [*problems, *_data_files(run, promised), *score_path_problems(run, promised)]


def _policy(run: AnyRun, policy: FolderPolicy) -> Iterator[str]:
    folder = Path(policy.path)
    place = f"policy.path = {policy.path}"
    remedy = "give a local folder in Hugging Face format"
    if not folder.is_dir():
        yield f"{place}: no such folder (looked in {Path.cwd()}); {remedy}, models are not downloaded"
        return
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        yield f"{place}: no tokenizer, which is one of {', '.join(TOKENIZER_FILES)}; {remedy}"
    yield from (f"{place}: {problem}; {remedy}" for problem in _weights(folder))
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{place}: config.json cannot be read ({error}); {remedy}"
        return
    limit = config.get("max_position_embeddings")
    if isinstance(limit, int) and policy.max_model_len > limit:
        yield (
            f"policy.max_model_len = {policy.max_model_len}: the model's positions end at {limit} "
            f"(max_position_embeddings in {folder / 'config.json'}); lower it to {limit} or less"
        )
    heads, split = config.get("num_attention_heads"), run.rollout.tensor_parallel if run.rollout else 1
    if isinstance(heads, int) and heads % split:
        yield (
            f"rollout.tensor_parallel = {split}: it must divide the model's {heads} heads; "
            f"use one of {', '.join(str(n) for n in range(1, 17) if heads % n == 0)}"
        )


def _weights(folder: Path) -> Iterator[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if not any(folder.glob("*.safetensors")):
            yield "no weights (*.safetensors)"
        return
    try:
        shards: set[str] = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        yield f"{index.name} cannot be read ({error!r})"
        return
    if missing := sorted(name for name in shards if not (folder / name).is_file()):
        yield f"{len(missing)} of {len(shards)} weight files of {index.name} are missing, such as {missing[0]}"


def _data_files(run: AnyRun, promised: Set[str]) -> Iterator[str]:
    for place, source in sources_of(run):
        if not isinstance(source, RowPrompts | RowTraces) or source.path in promised:
            continue
        if not Path(source.path).is_file():
            yield f"{place}.path = {source.path}: no such file (looked in {Path.cwd()}); give a local file of rows"


def _of_distillation(run: DistillRun, promised: Set[str]) -> list[str]:
    """Of the parts, but for the rows between the halves of a hard one, which are not there yet."""
    distill, problems = run.distill, list[str]()
    for part in parts_of(run):
        if isinstance(distill, HardDistillation) and isinstance(part.run, SftRun):
            policy = run.policy
            known = isinstance(policy, FolderPolicy) and policy.path not in promised
            problems += _policy(run, policy) if known and isinstance(policy, FolderPolicy) else ()
        else:
            problems += [part.place(problem) for problem in find_path_problems(part.run, promised=promised)]
    teacher = distill.teacher
    if teacher.path in promised:
        return list(dict.fromkeys(problems))
    if isinstance(teacher, RecordedTeacher) and not Path(teacher.path).is_file():
        problems.append(
            f"distill.teacher.path = {teacher.path}: no such file (looked in {Path.cwd()}); give one of rows"
        )
    if isinstance(teacher, ScoringTeacher) and not (Path(teacher.path) / "config.json").is_file():
        problems.append(
            f"distill.teacher.path = {teacher.path}: no model folder (looked in {Path.cwd()}); give a local folder in "
            "Hugging Face format"
        )
    return list(dict.fromkeys(problems))
