"""Bad input at the command line: exit code 2 and one clear message, before Ray starts, and nothing on disk is lost."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cli.main import main
from cli.prepare import Prepared

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo.yaml"
PROMPTS = "{{type: rows, path: {path}, template: raw}}"

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `rayzero WORDS` here; gives exit code and standard error.

    In place of training, which would start Ray, a stand-in prints `training began`: no refused call may get there.
    """
    stand_in = ModuleType("cli.train")

    def train(prepared: Prepared) -> int:
        prepared.lock.close()
        print("training began", prepared.folder, file=sys.stderr)
        return 0

    vars(stand_in)["train"] = train
    monkeypatch.setitem(sys.modules, "cli.train", stand_in)
    monkeypatch.setattr("cli.main.set_environment", lambda *, loopback: None)  # would outlive the test
    monkeypatch.setattr("faulthandler.enable", lambda: None)  # needs a standard error that is a file

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rayzero", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        ray = sys.modules.get("ray")
        assert ray is None or not ray.is_initialized()
        code = ended.value.code
        assert isinstance(code, int)
        return code, capsys.readouterr().err

    return run


def occupied(runs: Path) -> Path:
    """A folder that holds the run `try`, with a checkpoint that is not complete."""
    folder = runs / "try"
    for name in ("config.yaml", "metrics.jsonl", "checkpoints/step_000001/weights", "rollouts/train_000001.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"of the other run: {name}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(code: int, stderr: str) -> None:
    assert code == 2, stderr
    assert stderr.startswith("error: ")
    assert "Traceback" not in stderr
    assert "training began" not in stderr


def test_good_input_reaches_training(call: Call, tmp_path: Path):
    code, stderr = call("train", DEMO, f"runs_folder={tmp_path}", "name=try")
    assert (code, stderr) == (0, f"training began {tmp_path / 'try'}\n")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        pytest.param(
            ["rollout.grop_size=8"], ["rollout.grop_size = 8", "unknown key", "did you mean `group_size`?"], id="key"
        ),
        pytest.param(["steps=many"], ['steps = "many"', "which is text", "expected a whole number"], id="type"),
        pytest.param(
            ["learner.ranks=3"],
            [
                "prompts_per_step = 16",
                "128 sequences per step",
                "not divisible by learner.ranks 3",
                "prompts_per_step 18",
            ],
            id="indivisible ranks",
        ),
        pytest.param(
            ["policy.kv_heads=3"],
            ["policy.kv_heads = 3", "must divide policy.heads 4", "use one of 1, 2, 4"],
            id="indivisible heads",
        ),
        pytest.param(
            ["policy={type: folder, path: models/absent, max_model_len: 128}"],
            ["policy.path = models/absent", "no such folder", "give a local folder in Hugging Face format"],
            id="model folder",
        ),
        pytest.param(
            ["rollout.top_p=0.9"],
            ["rollout.top_p = 0.9", "training refuses truncated sampling", "remove the key"],
            id="truncated sampling",
        ),
        pytest.param(
            ["policy.max_model_len=70"],
            ["'999+999:' has 9 tokens", "more than the 6 that the context leaves", "raise `policy.max_model_len`"],
            id="generated prompt too long",
        ),
        pytest.param(
            ["rollout.workers=64"],
            ["CPUs = 65", "this machine offers 2, 63 short", "rollout 64 x 1", "raise cluster.cpus"],
            id="CPUs",
        ),
    ],
)
def test_a_bad_config_is_refused_before_anything_is_touched(
    call: Call, tmp_path: Path, overrides: list[str], said: list[str]
):
    before = contents(occupied(tmp_path))
    code, stderr = call("train", DEMO, *overrides, f"runs_folder={tmp_path}", "name=try", "--overwrite")
    refused(code, stderr)
    assert [words for words in said if words not in stderr] == [], stderr
    assert contents(tmp_path / "try") == before


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(
            [{"prompt": "1+1:", "gold": "2"}],
            ["no column 'answer' in row 0", "its columns are gold, prompt", "`reference_columns`"],
            id="missing column",
        ),
        pytest.param([], ["rows.jsonl has no rows", "at least one"], id="empty"),
        pytest.param(
            [{"prompt": "1+1:", "answer": "2"}, {"prompt": "1+" * 40, "answer": "2"}],
            ["row 1: the prompt has 81 tokens", "more than the 64 that the context leaves", "shorten or remove"],
            id="prompt too long",
        ),
    ],
)
@pytest.mark.parametrize("section", ["prompts", "evaluation.prompts"])
def test_bad_rows_are_refused_before_anything_is_touched(
    call: Call, tmp_path: Path, section: str, rows: list[dict[str, str]], said: list[str]
):
    before = contents(occupied(tmp_path))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = f"{section}={PROMPTS.format(path=file)}"
    code, stderr = call("train", DEMO, prompts, f"runs_folder={tmp_path}", "name=try", "--overwrite")
    refused(code, stderr)
    assert [words for words in said if words not in stderr] == [], stderr
    assert str(file) in stderr
    assert contents(tmp_path / "try") == before


def test_a_folder_that_holds_another_run_is_refused_and_left_alone(call: Call, tmp_path: Path):
    before = contents(occupied(tmp_path))
    code, stderr = call("train", DEMO, f"runs_folder={tmp_path}", "name=try")
    refused(code, stderr)
    for words in (str(tmp_path / "try"), "holds another run", "another `name`", "--resume", "--overwrite"):
        assert words in stderr
    assert contents(tmp_path / "try") == before


def test_resuming_without_a_complete_checkpoint_is_refused_and_nothing_is_deleted(call: Call, tmp_path: Path):
    before = contents(occupied(tmp_path))
    code, stderr = call("train", DEMO, f"runs_folder={tmp_path}", "name=try", "--resume")
    refused(code, stderr)
    assert "no complete checkpoint" in stderr
    assert {name: text for name, text in contents(tmp_path / "try").items() if name != ".lock"} == before


def test_overwriting_spares_a_folder_that_is_no_run(call: Call, tmp_path: Path):
    (tmp_path / "try").mkdir()
    (tmp_path / "try" / "thesis.tex").write_text("years of work")
    code, stderr = call("train", DEMO, f"runs_folder={tmp_path}", "name=try", "--overwrite")
    refused(code, stderr)
    assert "is not a run's folder" in stderr
    assert contents(tmp_path / "try") == {"thesis.tex": b"years of work"}


def test_a_runs_folder_that_is_a_file_is_refused_and_left_alone(call: Call, tmp_path: Path):
    (tmp_path / "runs").write_text("a file")
    code, stderr = call("train", DEMO, f"runs_folder={tmp_path / 'runs'}", "name=try", "--overwrite")
    refused(code, stderr)
    assert f"runs_folder = {tmp_path / 'runs'}" in stderr
    assert "Choose another folder" in stderr
    assert contents(tmp_path) == {"runs": b"a file"}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("command", [["sample"], ["scale", "--rollouts", "2"], ["report"]], ids=lambda words: words[0])
def test_commands_on_a_folder_that_is_no_run_say_so(call: Call, tmp_path: Path, command: list[str], exists: bool):
    folder = tmp_path / "holiday"
    if exists:
        folder.mkdir()
        (folder / "beach.txt").write_text("sand")
    before = contents(tmp_path)
    code, stderr = call(command[0], folder, *command[1:])
    refused(code, stderr)
    assert str(folder) in stderr
    assert stderr.count("\n") == 1
    assert contents(tmp_path) == before


def test_the_last_check_passes_without_loading_ray(tmp_path: Path):
    occupied(tmp_path)
    program = (
        "import atexit, sys; atexit.register(lambda: print('ray' in sys.modules)); from cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "train", str(DEMO), f"runs_folder={tmp_path}", "name=try"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    refused(done.returncode, done.stderr)
    assert "holds another run" in done.stderr
    assert done.stdout == "False\n"
