"""Samples are shown whole and unaltered, in a pipe as in a terminal, in the order asked for."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from cli.sample import show_samples
from data.errors import DataError
from data.records import Completion, Group, Prompt, ScoredGroup, Verdict
from data.store import RolloutStore

pytestmark = pytest.mark.unit


def completion(text: str, tokens: int) -> Completion:
    versions = np.array([3] * (tokens - 2) + [4] * 2, np.int32)
    ids = np.zeros(tokens, np.int32)
    return Completion(ids, np.zeros(tokens, np.float32), versions, text, "length" if tokens == 9 else "stop")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    prompt = Prompt("sum:1", np.zeros(2, np.int32), "1+1=", {"answer": "2"})
    completions = (completion("[bold]three[/bold]", 9), completion("two\nlines", 5), completion("lost", 4))
    verdicts = (
        Verdict("ok", 0.1, False, {"exact_number": 0.0, "format": 1.0}, "answer is 3"),
        Verdict("ok", 1.1, True, {"exact_number": 1.0, "format": 1.0}),
        Verdict("infra_error", None, False, {}, "worker died"),
    )
    scored = ScoredGroup(Group(5, prompt, completions, "rollout-0", 0.1), verdicts, 0.0, 0.0)
    store = RolloutStore(tmp_path / "rollouts")
    store.write(1, [scored])
    store.write(2, [scored], advantages={5: [-0.5, 0.5, np.nan]})
    return tmp_path


def shown(folder: Path, **settings: Any) -> str:
    out = io.StringIO()
    show_samples(folder, console=Console(file=out, width=40), **settings)
    return out.getvalue()


def test_the_newest_step_is_shown_best_first(run_folder: Path) -> None:
    text = shown(run_folder)
    assert "train step 2, 3 completions, 1 correct; 3 shown" in text
    assert text.index("two") < text.index("three") < text.index("lost")
    assert "score 1.1 (exact_number 1, format 1)" in text
    assert "advantage +0.500" in text
    assert "versions 3×3 4×2" in text
    assert '{"answer": "2"}' in text
    assert "infra_error" in text
    assert "worker died" in text


def test_text_of_the_model_is_not_taken_as_markup_and_not_cut_in_a_pipe(run_folder: Path) -> None:
    text = shown(run_folder)
    assert "completion  [bold]three[/bold]\n" in text
    assert "completion  two\n            lines\n" in text
    assert "cut at the limit" in text
    assert "\x1b" not in text


def test_filters_and_limit(run_folder: Path) -> None:
    assert "three" not in shown(run_folder, correct=True)
    assert "two" not in shown(run_folder, correct=False)
    assert "three" in shown(run_folder, sort="length", limit=1)
    assert "1 shown" in shown(run_folder, sort="random", limit=1)
    assert "not trained" in shown(run_folder, step=1)


def test_wrong_folders_steps_and_kinds_say_what_there_is(run_folder: Path) -> None:
    with pytest.raises(DataError, match="no folder `rollouts`"):
        shown(run_folder / "rollouts")
    with pytest.raises(DataError, match="it has 2 steps from 1 to 2"):
        shown(run_folder, step=9)
    with pytest.raises(DataError, match="holds no eval rollouts"):
        shown(run_folder, kind="eval")
