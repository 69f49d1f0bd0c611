"""The rules that a pipeline's stages keep before their own configs are looked at."""

from collections import Counter
from collections.abc import Callable, Iterator

from configs.pipeline import PipelineRun

Problems = Iterator[str]

OWNED = ("name", "runs_folder", "tracking", "cluster")  # keys of a run that the pipeline sets for its stages


def stage_names_are_unique(pipeline: PipelineRun) -> Problems:
    """Every stage of a pipeline has a name of its own; it is the name of its folder and of references to it."""
    counts = Counter(stage.name for stage in pipeline.stages)
    for name, count in counts.items():
        if count > 1:
            yield f"stages: {count} stages have the name {name}; give each its own"


def a_stage_has_one_config(pipeline: PipelineRun) -> Problems:
    """A stage is either a `file` or a `run` written in the pipeline, not both and not neither."""
    for number, stage in enumerate(pipeline.stages):
        if (stage.file is None) == (stage.run is None):
            given = "both `file` and `run`" if stage.file is not None else "neither `file` nor `run`"
            yield f"stages.{number} ({stage.name}): has {given}; give one of the two"


def the_pipeline_owns_names_and_cluster(pipeline: PipelineRun) -> Problems:
    """`name`, `runs_folder`, `tracking` and `cluster` are the pipeline's; a stage's `run` and `overrides` leave them
    out."""
    for number, stage in enumerate(pipeline.stages):
        for section, keys in (("run", stage.run or {}), ("overrides", stage.overrides)):
            for key in keys:
                owned = key.partition(".")[0]
                if owned in OWNED:
                    yield (
                        f"stages.{number}.{section}.{key}: a stage runs under the pipeline's `{owned}`; set it on the "
                        "pipeline, or remove it"
                    )


PIPELINE_RULES: tuple[Callable[[PipelineRun], Problems], ...] = (
    stage_names_are_unique,
    a_stage_has_one_config,
    the_pipeline_owns_names_and_cluster,
)


def find_pipeline_problems(pipeline: PipelineRun) -> list[str]:
    """One line for each violation, in the order of the rules."""
    return [problem for rule in PIPELINE_RULES for problem in rule(pipeline)]
