"""A dry run prints a config that loads again, and the derived table."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cli.dry_run import print_dry_run
from configs.load import load_run

pytestmark = pytest.mark.unit
DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def test_a_dry_run_prints_the_resolved_config_and_the_table(tmp_path: Path):
    run = load_run(DEMO, ["runs_folder='[bold]x'"])
    out = io.StringIO()
    print_dry_run(run, Console(file=out, width=160))
    config, table = out.getvalue().split("demo: derived values")
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(config)
    assert load_run(resolved) == run
    assert "16 prompts x 8 completions" in table
    assert "283,488" in table
