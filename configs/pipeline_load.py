"""Reads a pipeline: every stage resolved to an ordinary run and checked by the ordinary rules, before anything starts.

A stage that takes its policy from an earlier one is also checked as if it had the policy that this one descends from,
so that rules about vocabularies, heads and memory hold for it too.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.load import apply_override, parse_run, parse_types, read_tree, set_key
from configs.paths import find_path_problems
from configs.pipeline import PipelineRun, PipelineStage
from configs.pipeline_rules import find_pipeline_problems
from configs.policy import FolderPolicy, ScratchPolicy
from configs.references import OUTPUTS, Earlier, Link, Resolver
from configs.run import AnyRun


@dataclass(frozen=True, slots=True)
class ResolvedStage:
    """A stage as it will run."""

    name: str
    run: AnyRun  # references replaced by paths
    links: tuple[Link, ...]
    origin: AnyRun  # the same run with the policy that its own descends from: a folder or one from scratch

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it leaves for later stages."""
        return OUTPUTS[self.run.method]

    @property
    def promised(self) -> frozenset[str]:
        """Paths that earlier stages will have made by then."""
        return frozenset(link.path for link in self.links)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that nothing in its config speaks against."""

    run: PipelineRun
    stages: tuple[ResolvedStage, ...]

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def folder(self) -> Path:
        """Where the folders of the stages are; absolute."""
        return Path(_folder(self.run)).absolute()


def load_config(path: str | Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> AnyRun | Pipeline:
    """A run or a pipeline, by its `method`. Overrides as for `load_run`; `stages.NAME.KEY=VALUE` sets a stage's key.

    Raises ConfigError.
    """
    tree = read_tree(path)
    if tree.get("method") != "pipeline":
        for override in overrides:
            apply_override(tree, override)
        return parse_run(tree, source=str(path), check_paths=check_paths)
    of_stages = [override for override in overrides if _stage_of(override) is not None]
    for override in overrides:
        if override not in of_stages:
            apply_override(tree, override)
    run = parse_types(tree, source=str(path))
    if not isinstance(run, PipelineRun):  # an override changed the method
        raise ConfigError(str(path), [f"method = {run.method}: the file is a pipeline; leave its method alone"])
    return resolve_pipeline(run, of_stages, source=str(path), check_paths=check_paths)


def resolve_pipeline(
    run: PipelineRun, overrides: Sequence[str] = (), *, source: str = "config", check_paths: bool = True
) -> Pipeline:
    """Every stage as a run. `overrides`: `stages.NAME.KEY=VALUE`. Raises ConfigError with all that is wrong."""
    problems = find_pipeline_problems(run)
    names = [stage.name for stage in run.stages]
    for override in overrides:
        name = _stage_of(override)
        if name not in names:
            close = difflib.get_close_matches(name or "", names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"the stages are {', '.join(names)}"
            problems.append(f"override `{override}`: there is no stage `{name}`; {hint}")
    if problems:
        raise ConfigError(source, problems)
    stages: list[ResolvedStage] = []
    methods: dict[str, Earlier] = {}
    for stage in run.stages:
        own = [override for override in overrides if _stage_of(override) == stage.name]
        try:
            tree = _tree_of(run, stage, own)
            methods_before = dict(methods)
            methods[stage.name] = Earlier(str(tree.get("method")), f"{_folder(run)}/{stage.name}")
            stages.append(_resolve(stage.name, tree, methods_before, names, stages, check_paths=check_paths))
        except ConfigError as error:
            problems += [f"stage {stage.name}: {problem}" for problem in error.problems]
    problems += _exports_are_written(stages)
    if problems:
        raise ConfigError(source, problems)
    return Pipeline(run, tuple(stages))


def _stage_of(override: str) -> str | None:
    """The stage whose key an override sets; None for a key of the pipeline itself, such as `stages.0.overrides`."""
    parts = override.partition("=")[0].strip().split(".")
    return parts[1] if len(parts) > 2 and parts[0] == "stages" and not parts[1].isdecimal() else None


def _folder(run: PipelineRun) -> str:
    return f"{run.runs_folder}/{run.name}"


def _tree_of(run: PipelineRun, stage: PipelineStage, overrides: Sequence[str]) -> dict[str, Any]:
    """The stage's config as plain values, references still in it."""
    tree = copy.deepcopy(stage.run) if stage.run is not None else read_tree(stage.file or "")
    for key, value in stage.overrides.items():
        set_key(tree, key, copy.deepcopy(value), source="overrides")
    for override in overrides:
        apply_override(tree, override.strip().removeprefix(f"stages.{stage.name}."))
    if tree.get("method") == "pipeline":
        raise ConfigError("", ["method = pipeline: a stage is a single run; write its stages into this pipeline"])
    tree |= {
        "name": stage.name,
        "runs_folder": _folder(run),
        "tracking": run.tracking.model_dump(mode="json"),
        "cluster": run.cluster.model_dump(mode="json"),
    }
    tree.setdefault("seed", run.seed)
    return tree


def _resolve(
    name: str,
    tree: dict[str, Any],
    earlier: Mapping[str, Earlier],
    names: Sequence[str],
    stages: Sequence[ResolvedStage],
    *,
    check_paths: bool,
) -> ResolvedStage:
    resolver = Resolver(earlier, names, name)
    resolved = resolver.resolve(tree)
    if resolver.problems:
        raise ConfigError(name, resolver.problems)
    for link in resolver.links:
        if link.place == "policy.path" and link.output != "policy":
            raise ConfigError(name, [f"policy.path: `{link.output}` is no policy; use ${{stages.{link.stage}.policy}}"])
    run = parse_run(resolved, source=name, check_paths=False)
    stage = ResolvedStage(name, run, tuple(resolver.links), _with_origin(run, resolver.links, stages))
    if stage.origin is not run:
        parse_run(stage.origin.model_dump(mode="json"), source=name, check_paths=False)
    if check_paths and (problems := find_path_problems(run, promised=stage.promised)):
        raise ConfigError(name, problems)
    return stage


def _with_origin(run: AnyRun, links: Sequence[Link], stages: Sequence[ResolvedStage]) -> AnyRun:
    """The run with the policy that its own descends from, at its own context length and number format."""
    if not isinstance(run.policy, FolderPolicy):
        return run
    parent = next((link.stage for link in links if link.place == "policy.path"), None)
    ancestor = next((stage.origin.policy for stage in stages if stage.name == parent), None)
    if ancestor is None:
        return run
    own = {"dtype": run.policy.dtype, "max_model_len": run.policy.max_model_len}
    assert isinstance(ancestor, ScratchPolicy | FolderPolicy)
    return run.model_copy(update={"policy": ancestor.model_copy(update=own)})


def _exports_are_written(stages: Sequence[ResolvedStage]) -> Iterator[str]:
    """A policy that a later stage uses is exported by the stage that trains it."""
    runs = {stage.name: stage.run for stage in stages}
    for stage in stages:
        for link in stage.links:
            trains_it = runs.get(link.stage)  # None: its own problems are told already
            if link.output == "policy" and trains_it is not None and not trains_it.checkpoints.export:
                yield (
                    f"stage {link.stage}: checkpoints.export = false: the stage {stage.name} uses its policy as a "
                    "model folder, which is then not written; remove the key"
                )
