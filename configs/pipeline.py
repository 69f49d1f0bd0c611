"""A pipeline: ordinary runs, its stages, one after the other, each fed by what earlier ones left.

configs/pipeline_load.py resolves the references and checks every stage; docs/pipeline.md is the guide.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, TypeAdapter

from configs.engines import Cluster
from configs.run import AnyRun, Tracking
from configs.strict import Section

STAGE_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"


class PipelineStage(Section):
    """One stage: an ordinary run, from a file or written here. Exactly one of `file` and `run` is given.

    In any text of it `${stages.NAME.policy}` stands for what an earlier stage leaves.
    """

    name: Annotated[str, Field(pattern=STAGE_NAME)]
    """Name of the stage, of its run and of its folder within the pipeline's."""
    file: str | None = None
    """A YAML config. Its `name`, `runs_folder`, `tracking` and `cluster` give way to the pipeline's."""
    run: dict[str, Any] | None = None
    """The config itself, without the keys that are the pipeline's."""
    overrides: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Keys that replace those of the file, dotted, such as `rollout.group_size: 16`; a list is indexed by number."""


class PipelineRun(Section):
    """Several runs in a row, with references from one to the outputs of those before it."""

    method: Literal["pipeline"]
    """Stages one after the other."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the pipeline, of its folder, and of its model in MLflow's registry."""
    runs_folder: str = "runs"
    """Folder that holds the pipeline's folder, which holds those of the stages."""
    seed: NonNegativeInt = 0
    """Seed of every stage that sets none."""
    stages: Annotated[tuple[PipelineStage, ...], Field(min_length=1)]
    """The stages, in the order in which they run."""
    tracking: Tracking = Tracking()
    """MLflow, for the pipeline and all of its stages."""
    cluster: Cluster = Cluster()
    """The Ray cluster, started or joined once for all stages."""


AnyConfig = AnyRun | PipelineRun
Config = Annotated[AnyConfig, Field(discriminator="method")]
config_adapter: TypeAdapter[AnyConfig] = TypeAdapter(Config)
