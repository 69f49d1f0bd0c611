"""What a run leaves in MLflow at its end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli import recorder
from trainers.checkpoints import save_checkpoint

pytestmark = pytest.mark.unit


class FakeTracker:
    def __init__(self, info: object) -> None:
        self.artifacts: list[Path] = []

    def start(self, deadline_s: float) -> str:
        return "run"

    def log_artifact(self, path: Path) -> None:
        self.artifacts.append(path)

    def finish(self, status: str, deadline_s: float) -> None:
        return None


async def write(checkpoint: Path) -> None:
    (checkpoint / "weights").write_text("1")


@pytest.mark.parametrize(("best_step", "logged"), [(1, "step_000001"), (None, "step_000002")])
async def test_the_checkpoint_that_is_logged_is_the_best_or_without_one_the_newest(
    tmp_path: Path, best_step: int | None, logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        await save_checkpoint(
            tmp_path / "checkpoints", step, write, keep_last=2, version=step, world_size=1, best_step=best_step
        )
    monkeypatch.setattr(recorder, "TrackerClient", FakeTracker)
    ended = recorder.Recorder(cast(Any, SimpleNamespace(name="try", run_folder=tmp_path, shown_uri="sqlite:///x")))
    ended.finish("FINISHED")
    assert [path.name for path in cast(Any, ended.tracker).artifacts] == [logged]
