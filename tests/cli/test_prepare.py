"""What is refused is refused before Ray starts, and leaves the run's folder free."""

from pathlib import Path

import pytest

from cli.prepare import prepare, unclaim_folder
from configs.errors import ConfigError
from configs.load import load_run

pytestmark = pytest.mark.unit
DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def demo(folder: Path, *overrides: str):
    return load_run(DEMO, [f"runs_folder={folder}", "cluster.cpus=2", *overrides])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rollout.workers=5", "CPUs = 6: this machine offers 2, 4 short"),
        ("learner.node_labels.zone=a", r"learner\.node_labels = \{zone: a\}: no node of this machine"),
    ],
)
def test_a_machine_that_cannot_hold_the_run_is_refused_before_the_folder_is_made(
    tmp_path: Path, override: str, said: str
):
    with pytest.raises(ConfigError, match=said):
        prepare(demo(tmp_path, override), resume=False, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_refused_after_all_leaves_its_folder_as_it_was(tmp_path: Path):
    prepared = prepare(demo(tmp_path), resume=False, overwrite=False)
    assert (prepared.folder / "config.yaml").exists()
    unclaim_folder(prepared)
    prepared.lock.close()
    again = prepare(demo(tmp_path), resume=False, overwrite=False)
    again.lock.close()
    with pytest.raises(ConfigError, match="holds another run"):
        prepare(demo(tmp_path), resume=False, overwrite=False)
