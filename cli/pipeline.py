"""`rayzero train` with `method: pipeline`: every stage an ordinary run, all on one Ray, in the order of the config."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from actors.tracker import TrackerClient
from cli.cluster import await_resources, joins, start_ray
from cli.evaluate import policy_of_run
from cli.prepare import Prepared, check_machine, empty_folder, occupy_folder, prepare, read_data
from cli.recorder import MLFLOW_DEADLINE_S
from cli.reward_model import MODEL_FOLDER
from cli.train import STOPPED_BY_SIGNAL, train_on_ray
from configs.errors import ConfigError
from configs.load import dump_run
from configs.paths import find_path_problems
from configs.pipeline_load import Pipeline, ResolvedStage
from configs.pipeline_rules import OWNED
from configs.references import OUTPUT_FILES
from telemetry.console import Console
from telemetry.registry import PolicyVersion
from telemetry.run_info import RunInfo, TerminalStatus, TrackerState
from telemetry.versions import collect_versions
from trainers.pipeline import PipelineLoop, PipelineResult, PlannedStage, Selection, StageChanged
from trainers.ports import StageOutcome
from trainers.stage_manifest import StageManifest

SAMPLED = ("rollouts", "rationales", "step_labels")  # folders of a run that others learn from


class StageRefused(RuntimeError):
    """A stage cannot run with what the stages before it left; those stay done."""


def run_pipeline(pipeline: Pipeline, selection: Selection, *, resume: bool, overwrite: bool) -> int:
    """All of it, from the checks to the table. Returns the exit code: 0, or 130 when a signal stopped it.

    Raises ConfigError, DataError and StageChanged, all ValueErrors, before Ray starts; then what a run raises.
    """
    check_stages(pipeline)
    folder = pipeline.folder
    shared = resume or overwrite or selection != Selection()
    _, lock = occupy_folder(pipeline.run, folder, shared=shared)
    with lock:
        if overwrite:
            empty_folder(folder)
        runner = _Runner(pipeline)
        loop = PipelineLoop(
            folder,
            [plan(stage) for stage in pipeline.stages],
            runner,
            on_done=runner.on_done,
            announce=runner.announce,
        )
        loop.check(selection)
        (folder / "config.yaml").write_text(dump_run(pipeline.run), encoding="utf-8")
        result = runner.go(loop, selection)
    _show(pipeline, result)
    return STOPPED_BY_SIGNAL if result.status == "stopped" else 0


def check_stages(pipeline: Pipeline) -> None:
    """What can be known of every stage before the first one runs. Raises ConfigError with the problems of all."""
    problems: list[str] = []
    for stage in pipeline.stages:
        try:
            check_machine(stage.run)
            if all(link.place.partition(".")[0] in ("policy", "rewards") for link in stage.links):
                read_data(stage.origin)  # nothing of it is still to be written
        except ConfigError as error:
            problems += [f"stage {stage.name}: {problem}" for problem in error.problems]
        except ValueError as error:  # of the data
            problems.append(f"stage {stage.name}: {error}")
    if problems:
        raise ConfigError(pipeline.name, problems)


def plan(stage: ResolvedStage) -> PlannedStage:
    """The stage as the loop sees it: what decides its result, and the files that it takes and leaves."""
    run = stage.run
    folder = Path(run.runs_folder).absolute() / run.name
    config = run.model_dump(mode="json", exclude=set(OWNED))
    inputs = dict(_paths_in(config)) | {link.place: link.path for link in stage.links}
    outputs = [output for output in stage.outputs if output != "policy" or run.checkpoints.export]
    return PlannedStage(
        name=stage.name,
        method=run.method,
        folder=folder,
        config=config,
        inputs=dict(_hashed(inputs)),
        outputs={output: folder / OUTPUT_FILES[output] for output in outputs},
    )


def _paths_in(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every text under a key `path`, which is how configs name files and folders, with its dotted key."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(cast(dict[str, Any], value).items())
    elif isinstance(value, list):
        items = list(enumerate(cast(list[Any], value)))
    for key, inner in items:
        place = f"{prefix}.{key}" if prefix else str(key)
        if key == "path" and isinstance(inner, str):
            yield place, inner
        else:
            yield from _paths_in(inner, place)


def _hashed(inputs: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """What decides a result. Of a run's folder it is what the run sampled, and not its logs and reports."""
    for place, text in inputs.items():
        path = Path(text).absolute()
        if (path / "config.yaml").is_file():
            yield from ((f"{place}/{name}", path / name) for name in SAMPLED if (path / name).is_dir())
        else:
            yield place, path


class _Runner:
    """The loop's StageRunner, and the pipeline's own run in MLflow. Ray is up within `go`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._stages = {stage.name: stage for stage in pipeline.stages}
        self._prepared: Prepared | None = None
        self._address = ""
        self._tracker: TrackerClient | None = None
        self._versions = collect_versions()

    def go(self, loop: PipelineLoop, selection: Selection) -> PipelineResult:
        """Start Ray, run the loop, close the books."""
        pipeline = self._pipeline
        self._address = start_ray(pipeline.run.cluster)
        if joins(pipeline.run.cluster):
            for stage in pipeline.stages:
                await_resources(stage.run)
        # A stage measures the machine while it runs; the pipeline need not do it beside it.
        tracking = pipeline.run.tracking.model_copy(update={"system_metrics_every_s": 86400.0})
        config = yaml.safe_load(dump_run(pipeline.run))
        self._tracker = TrackerClient(RunInfo(pipeline.name, pipeline.folder, tracking, config, self._versions))
        status: TerminalStatus = "FAILED"
        try:
            result = loop.run(selection)
            status = "KILLED" if result.status == "stopped" else "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except StageChanged as error:  # by a stage that ran just now
            raise StageRefused(str(error)) from error
        finally:
            if (pipeline.folder / "summary.json").exists():
                self._tracker.log_artifact(pipeline.folder / "summary.json")
            self._tracker.finish(status, MLFLOW_DEADLINE_S)
        return result

    # ---- StageRunner ----

    def claim(self, name: str, *, resume: bool) -> bool:
        run = self._stages[name].run
        try:
            if problems := find_path_problems(run):
                raise ConfigError(name, problems)
            self._prepared = prepare(run, resume=resume, overwrite=True)
        except ValueError as error:
            raise StageRefused(f"stage {name} cannot run: {error}") from error
        return self._prepared.resume_from is not None

    def run(self, name: str) -> StageOutcome:
        prepared = self._prepared
        assert prepared is not None
        assert prepared.run.name == name  # claimed just before
        with prepared.lock:
            summary = train_on_ray(prepared, self._address, pipeline_folder=self._pipeline.folder)
            if summary["status"] != "finished":
                return StageOutcome("stopped", summary)
            self._link_models(self._stages[name], prepared.folder)
        return StageOutcome("finished", summary)

    def _link_models(self, stage: ResolvedStage, folder: Path) -> None:
        """Models lie in checkpoints, whose names are known only now."""
        if "policy" in stage.outputs and stage.run.checkpoints.export:
            _link(folder / OUTPUT_FILES["policy"], policy_of_run(folder))
        if "reward_model" in stage.outputs:
            _link(folder / OUTPUT_FILES["reward_model"], folder / "checkpoints" / "final" / MODEL_FOLDER)

    # ---- what the loop tells ----

    def announce(self, number: int, stage: PlannedStage) -> None:
        print(f"\n{self._pipeline.name}, stage {number} of {len(self._stages)}: {stage.name} ({stage.method})")

    def on_done(self, stage: PlannedStage, manifest: StageManifest, ran: bool) -> None:
        """Figures to the pipeline's MLflow run, the policy to the registry. MLflow's failures stay in the tracker."""
        tracker = self._tracker
        assert tracker is not None
        if ran:
            number = list(self._stages).index(stage.name) + 1
            tracker.log_step(number, _figures(manifest))
        if "policy" in manifest.outputs:
            tracker.register_policy(_version(self._pipeline.name, stage, manifest, self._versions))


def _link(link: Path, target: Path) -> None:
    """A relative link, so that the folder can be moved; one that is there already is replaced."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)


def _figures(manifest: StageManifest) -> dict[str, float]:
    names = {"accuracy_after": "eval/accuracy", "length_after": "eval/length_mean"}
    found = {metric: manifest.figures.get(name) for name, metric in names.items()}
    return {"pipeline/wall_s": manifest.wall_s} | {name: value for name, value in found.items() if value is not None}


def _version(model: str, stage: PlannedStage, manifest: StageManifest, versions: Mapping[str, Any]) -> PolicyVersion:
    state = TrackerState.load(stage.folder)
    parent = manifest.inputs.get("policy.path")
    return PolicyVersion(
        model=model,
        path=stage.outputs["policy"],
        run_id=None if state is None else state.run_id,
        stage=stage.name,
        method=stage.method,
        policy_sha256=_weights_hash(manifest.outputs["policy"]),
        parent_sha256=_weights_hash(parent) if parent else None,
        parent_path=str(stage.inputs["policy.path"]) if parent else None,
        config_sha256=manifest.config_sha256,
        inputs=manifest.inputs,
        figures=manifest.figures,
        versions=versions,
    )


def _weights_hash(files: Mapping[str, str]) -> str:
    weights = {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()


def _show(pipeline: Pipeline, result: PipelineResult) -> None:
    """The table of stages, and where to look."""

    def number(value: Any, form: str) -> str:
        return "" if value is None else format(value, form)

    rows: list[tuple[str, ...]] = []
    for stage in result.stages:
        figures = stage.figures
        interval = figures.get("accuracy_after_interval")
        rows.append(
            (
                stage.name,
                number(figures.get("accuracy_before"), ".3f"),
                number(figures.get("accuracy_after"), ".3f"),
                f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "",
                number(figures.get("length_after"), ".1f"),
                f"{stage.wall_s:.0f}",
            )
        )
    rows.append(("all", "", "", "", "", f"{sum(stage.wall_s for stage in result.stages):.0f}"))
    columns = ("held-out accuracy", "before", "after", "95 % interval", "length", "time, s")
    title = f"{pipeline.name}: {result.status}, {len(result.stages)} of {len(pipeline.stages)} stages done"
    Console(pipeline.name, live=False).final_table(rows, columns=columns, title=title)
    print(f"  reports  {pipeline.folder}/STAGE/report.html")
    print(f"  figures  {pipeline.folder / 'summary.json'}")
    if result.status == "stopped":
        print("  go on    the same command with --resume in place of --overwrite")
