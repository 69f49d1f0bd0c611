"""A pipeline's stages one after the other, none twice. It knows nothing of what a stage does; a port runs them.

    not begun ──claim──> started ──run──> done          stage.json says which (trainers/stage_manifest.py)
                            │  ^
                            v  │ killed or stopped: claimed again, from its own checkpoint where its method has one
                         (resume)

Contract: a stage that is done is not run again while its config, its inputs and its outputs are what they were; when
one of them is not, StageChanged names it and says what to do, and nothing is run.
"""

import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trainers.ports import StageRunner
from trainers.stage_manifest import (
    MANIFEST,
    StageManifest,
    changed_files,
    changed_keys,
    hash_config,
    hash_files,
    write_json,
)


class StageChanged(ValueError):
    """A stage that is done was made from something else than what is there now."""


class StageIncomplete(RuntimeError):
    """A stage ended without what it should leave."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage as the loop sees it."""

    name: str
    method: str
    folder: Path
    config: Mapping[str, Any]  # plain values that decide the result
    inputs: Mapping[str, Path]  # key of the config -> file or folder
    outputs: Mapping[str, Path]  # name -> file or folder that is there when the stage is done


OnDone = Callable[[PlannedStage, StageManifest, bool], None]  # a stage that is done; whether it ran just now


@dataclass(frozen=True, slots=True)
class Selection:
    """Which stages to run; by default all that are not done."""

    start: str | None = None  # this one and all after it, anew; those before must be done
    only: str | None = None  # just this one, anew; those that it takes something from must be done


@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage that is done."""

    name: str
    method: str
    figures: Mapping[str, Any]
    wall_s: float
    ran: bool  # by this command


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How it ended. `stages` are those that are done, in order."""

    status: Literal["finished", "stopped", "partial"]  # partial: stages are left that were not asked for
    stages: tuple[StageResult, ...]


class PipelineLoop:
    """Call `check` before anything is started, then `run` once."""

    def __init__(
        self,
        folder: Path,
        stages: Seq[PlannedStage],
        runner: StageRunner,
        *,
        on_done: OnDone = lambda stage, manifest, ran: None,
        announce: Callable[[int, PlannedStage], None] = lambda number, stage: None,
    ) -> None:
        """`folder`: the pipeline's own; `announce`: told of a stage, numbered from 1, before it runs."""
        self._folder, self._stages, self._runner = folder, tuple(stages), runner
        self._on_done, self._announce = on_done, announce

    def check(self, selection: Selection) -> None:
        """Raises StageChanged for a stage that is done and should not be run again, ValueError for a bad selection."""
        named = selection.start or selection.only
        names = [stage.name for stage in self._stages]
        if named is None:
            for stage in self._stages:
                if self._done(stage) is None:
                    return  # what is done after it is looked at when its turn comes
            return
        if named not in names:
            raise ValueError(f"there is no stage {named}; the stages are {', '.join(names)}")
        option = "--only" if selection.only else "--from"
        for stage in self._needed(named, all_before=selection.start is not None):
            if self._done(stage) is None:
                raise ValueError(f"{option} {named}: the stage {stage.name}, which comes first, is not done; --resume")

    def run(self, selection: Selection) -> PipelineResult:
        """Raises StageChanged, StageIncomplete, and what the port raises."""
        self.check(selection)
        anew = self._anew(selection)
        for stage in anew:  # at once: those after the first will have other inputs, whenever this is ended
            (stage.folder / MANIFEST).unlink(missing_ok=True)
        results: list[StageResult] = []
        for number, stage in enumerate(self._stages, 1):
            if selection.only is not None and stage.name != selection.only:
                manifest = StageManifest.load(stage.folder)
                if manifest is not None and manifest.status == "done":
                    results.append(StageResult(stage.name, stage.method, manifest.figures, manifest.wall_s, ran=False))
                continue
            manifest = self._done(stage)
            ran = manifest is None
            if manifest is None:
                self._announce(number, stage)
                manifest = self._run(stage, resume=stage not in anew)
            if manifest is None:
                return self._conclude("stopped", results)
            self._on_done(stage, manifest, ran)
            results.append(StageResult(stage.name, stage.method, manifest.figures, manifest.wall_s, ran))
            self._conclude("partial", results)
        return self._conclude("finished" if len(results) == len(self._stages) else "partial", results)

    # ---- which ----

    def _anew(self, selection: Selection) -> list[PlannedStage]:
        if selection.only is not None:
            return [stage for stage in self._stages if stage.name == selection.only]
        names = [stage.name for stage in self._stages]
        return list(self._stages[names.index(selection.start) :]) if selection.start is not None else []

    def _needed(self, name: str, *, all_before: bool) -> list[PlannedStage]:
        """Stages before the named one: all, or those that it takes something from."""
        number = next(n for n, stage in enumerate(self._stages) if stage.name == name)
        taken = set(self._stages[number].inputs.values())
        return [s for s in self._stages[:number] if all_before or taken & set(s.outputs.values())]

    # ---- one stage ----

    def _done(self, stage: PlannedStage) -> StageManifest | None:
        """Of a stage that is done; None for one that is not. Raises StageChanged."""
        manifest = StageManifest.load(stage.folder)
        if manifest is None or manifest.status != "done":
            return None
        changes = _changes(stage, manifest)
        if changes:
            raise StageChanged(
                f"the stage {stage.name} is done, but was made from something else than what is there now:\n"
                + "\n".join(f"  {change}" for change in changes)
                + f"\nput that back, or run the pipeline again from there with --from {stage.name}"
            )
        return manifest

    def _run(self, stage: PlannedStage, *, resume: bool) -> StageManifest | None:
        """Run it to its end; None when it was stopped."""
        before = StageManifest.load(stage.folder)
        inputs = {place: hash_files(path) for place, path in stage.inputs.items()}
        begun = StageManifest("started", stage.config, hash_config(stage.config), inputs)
        same = before is not None and (before.config_sha256, before.inputs) == (begun.config_sha256, inputs)
        goes_on = self._runner.claim(stage.name, resume=resume and same)
        if goes_on and before is not None:
            begun = replace(begun, wall_s=before.wall_s)
        begun.save(stage.folder)
        started = time.monotonic()
        outcome = self._runner.run(stage.name)
        wall_s = begun.wall_s + time.monotonic() - started
        if outcome.status != "finished":
            replace(begun, wall_s=wall_s).save(stage.folder)
            return None
        outputs = {name: hash_files(path) for name, path in stage.outputs.items()}
        if missing := [str(stage.outputs[name]) for name, files in outputs.items() if not files]:
            raise StageIncomplete(f"the stage {stage.name} ended without {', '.join(missing)}")
        done = replace(begun, status="done", outputs=outputs, figures=outcome.figures, wall_s=wall_s)
        done.save(stage.folder)
        return done

    def _conclude(self, status: Literal["finished", "stopped", "partial"], results: Seq[StageResult]) -> PipelineResult:
        """How it stands, also written down: `summary.json` in the pipeline's folder."""
        write_json(self._folder / "summary.json", build_pipeline_summary(status, len(self._stages), results))
        return PipelineResult(status, tuple(results))


def _changes(stage: PlannedStage, manifest: StageManifest) -> list[str]:
    changes: list[str] = []
    if manifest.config_sha256 != hash_config(stage.config):
        changes += [f"config: {change}" for change in changed_keys(manifest.config, stage.config)]
    for kind, paths, then in (("input", stage.inputs, manifest.inputs), ("output", stage.outputs, manifest.outputs)):
        for name, path in paths.items():
            found = changed_files(then.get(name, {}), hash_files(path))
            changes += [f"{kind} {name}, {path}: {change}" for change in found]
    return changes


def build_pipeline_summary(status: str, stages: int, results: Seq[StageResult]) -> dict[str, Any]:
    """Fields of the pipeline's `summary.json`; a figure is null when its stage did not measure it."""
    names = ("accuracy_before", "accuracy_after", "accuracy_after_interval", "length_after", "format_share_after")
    rows = [
        {"stage": result.name, "method": result.method}
        | {name: result.figures.get(name) for name in names}
        | {"wall_s": result.wall_s}
        for result in results
    ]
    wall_s = sum(result.wall_s for result in results)
    return {"status": status, "stages_done": len(results), "stages": stages, "wall_s": wall_s, "by_stage": rows}
