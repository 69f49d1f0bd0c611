from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told_rewards.py").write_text(
        "def length(sample, limit): return min(1.0, len(sample.response) / limit)\ndef none(sample): return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["reward", "check", *arguments])
    return result.exit_code, result.output


def test_a_reward_that_keeps_the_contract_exits_with_0():
    code, output = run("told_rewards:length", "--options", '{"limit": 100}')
    assert code == 0, output
    assert "told_rewards:length: keeps the contract" in output


def test_a_reward_that_breaks_it_exits_with_1_and_says_how():
    code, output = run("told_rewards:none")
    assert code == 1
    assert "returned NoneType for one sample" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("told_rewards",), "MODULE:FUNCTION"),
        (("told_rewards:none", "--options", "{"), "is not JSON"),
        (("told_rewards:none", "--reference", "[1]"), "is not a JSON object"),
    ],
)
def test_a_wrong_call_exits_with_2(arguments: tuple[str, ...], message: str):
    code, output = run(*arguments)
    assert code == 2
    assert message in output
