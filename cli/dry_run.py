"""What `--dry-run` prints: the resolved config as YAML and the table of what follows from it. Starts nothing."""

from rich.console import Console
from rich.table import Table

from configs.derived import derived_table
from configs.load import dump_run
from configs.pipeline_load import Pipeline
from configs.run import AnyRun


def print_dry_run(run: AnyRun, console: Console | None = None, *, origin: AnyRun | None = None) -> None:
    """Print to the console (standard output by default). `origin`: the run to derive sizes from, when not the same."""
    console = console or Console()
    console.print(dump_run(run), markup=False, highlight=False, soft_wrap=True)
    table = Table("quantity", "value", "how it came about", title=f"{run.name}: derived values", title_justify="left")
    table.columns[1].justify = "right"
    for row in derived_table(origin or run):
        table.add_row(*row)
    console.print(table)


def print_pipeline_dry_run(pipeline: Pipeline, console: Console | None = None) -> None:
    """The stages and what flows between them, then each stage as a run of its own."""
    console = console or Console()
    for number, stage in enumerate(pipeline.stages, 1):
        console.rule(f"stage {number} of {len(pipeline.stages)}: {stage.name}", align="left")
        print_dry_run(stage.run, console, origin=stage.origin)
    table = Table("stage", "method", "takes", "leaves", title=f"{pipeline.name}: stages", title_justify="left")
    for stage in pipeline.stages:
        takes = dict.fromkeys(f"{link.output} of {link.stage}" for link in stage.links)
        table.add_row(stage.name, stage.run.method, ", ".join(takes), ", ".join(stage.outputs))
    console.print(table)
