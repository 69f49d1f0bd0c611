"""A pipeline in memory: stages that write one file each, and a runner that can be stopped or killed in the middle."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.pipeline import PipelineLoop, PlannedStage
from trainers.ports import StageOutcome
from trainers.stage_manifest import StageManifest


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


class FakeRunner:
    """Does the work of a stage in `units`, each written to disk as it is done, as a run's checkpoints are.

    The output of a stage is its config and the contents of its inputs, so that it changes when they do.
    """

    def __init__(self, stages: list[PlannedStage], units: int = 3, *, checkpoints: bool = True) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.units, self.checkpoints = units, checkpoints
        self.log: list[str] = []  # "a claimed", "a resumed", "a 1", "a 2", ...
        self.end_at: str | None = None  # such as "b 2": before that unit...
        self.end: Callable[[], StageOutcome] = self.stop  # ...this happens

    def stop(self) -> StageOutcome:
        return StageOutcome("stopped", {})

    def kill(self) -> StageOutcome:
        raise Killed

    def claim(self, name: str, *, resume: bool) -> bool:
        folder = self.stages[name].folder
        done = self._done(name) if resume and self.checkpoints else 0
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.log.append(f"{name} resumed" if done else f"{name} claimed")
        return done > 0

    def run(self, name: str) -> StageOutcome:
        stage = self.stages[name]
        for unit in range(self._done(name) + 1, self.units + 1):
            if self.end_at == f"{name} {unit}":
                self.end_at = None
                return self.end()
            self.log.append(f"{name} {unit}")
            (stage.folder / "units").write_text(str(unit))
        taken = [path.read_text() for path in stage.inputs.values()]
        for path in stage.outputs.values():
            path.write_text(f"{name} {stage.config} {taken}")
        return StageOutcome("finished", {"accuracy_after": len(name) / 10})

    def _done(self, name: str) -> int:
        path = self.stages[name].folder / "units"
        return int(path.read_text()) if path.exists() else 0


def chain(folder: Path, names: str = "abc", **config: Any) -> list[PlannedStage]:
    """Stages that each take what the one before leaves; the first takes the file `data`. `config`: of every stage."""
    data = folder / "data"
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text("rows")
    stages: list[PlannedStage] = []
    before = data
    for name in names:
        home = folder / name
        outputs = {"policy": home / "policy"}
        stages.append(PlannedStage(name, "grpo", home, dict(config), {"policy.path": before}, outputs))
        before = outputs["policy"]
    return stages


def loop_of(folder: Path, stages: list[PlannedStage] | None = None) -> tuple[PipelineLoop, FakeRunner]:
    stages = stages if stages is not None else chain(folder)
    runner = FakeRunner(stages)
    return PipelineLoop(folder, stages, runner), runner


def manifest_of(stage: PlannedStage) -> StageManifest:
    manifest = StageManifest.load(stage.folder)
    assert manifest is not None
    return manifest
