"""What `--dry-run` prints: the resolved config as YAML and the table of what follows from it. Starts nothing."""

from rich.console import Console
from rich.table import Table

from configs.derived import derived_table
from configs.load import dump_run
from configs.run import AnyRun


def print_dry_run(run: AnyRun, console: Console | None = None) -> None:
    """Print to the console (standard output by default)."""
    console = console or Console()
    console.print(dump_run(run), markup=False, highlight=False, soft_wrap=True)
    table = Table("quantity", "value", "how it came about", title=f"{run.name}: derived values", title_justify="left")
    table.columns[1].justify = "right"
    for row in derived_table(run):
        table.add_row(*row)
    console.print(table)
