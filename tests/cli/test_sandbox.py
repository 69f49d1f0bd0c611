"""`rayzero sandbox run` and `check` as a person types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import sandbox_check
from cli.sandbox import app
from cli.sandbox_check import missing
from sandbox.selftest import Examination, Finding

HELD = Examination(("seccomp", "landlock (ABI 7)", "cgroup"), (Finding("processes", "fork", ""),))
OPEN = Examination((), (Finding("", "raise the walls", "unshare: Operation not permitted"),))


@pytest.mark.integration
def test_a_program_runs_with_its_input_and_its_end_is_told(tmp_path: Path):
    (tmp_path / "input").write_text("41\n")
    cases = [
        ("print(int(input()) + 1)", 0, "42\n", "ran to its end"),
        ("print('so far'); raise SystemExit(3)", 1, "so far\n", "runtime_error: exit status 3"),
        ("print(", 1, "", "compile_error"),
        ("while True: pass", 1, "", "time_limit: more than 0.5 s of processor time"),
    ]
    for source, status, output, told in cases:
        (tmp_path / "program.py").write_text(source)
        arguments = ["run", str(tmp_path / "program.py"), "--stdin", str(tmp_path / "input"), "--cpu-s", "0.5"]
        ran = CliRunner().invoke(app, arguments)
        assert (ran.exit_code, ran.stdout) == (status, output)
        assert told in ran.stderr
        assert "s of processor time" in ran.stderr
        assert ran.stderr.rstrip().endswith(("namespaces]", "portable]"))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "absent.py"], "No such file"),
        (["run", "program.rb"], "the suffix says no language"),
        (["run", "program.py", "--language", "perl"], "it must be one of python, c, cpp, javascript"),
        (["run", "program.py", "--stdin", "absent"], "No such file"),
        (["run", "program.py", "--memory-mib", "1"], "--memory-mib"),
        (["serve", "--token-file", "absent"], "no token for the sandbox service: the file absent"),
    ],
)
def test_a_mistake_in_the_call_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
):
    monkeypatch.chdir(tmp_path)
    for name in ("program.py", "program.rb"):
        (tmp_path / name).touch()
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 2
    assert told in ran.stderr


@pytest.mark.unit
def test_check_fails_when_no_tier_holds_and_only_then(monkeypatch: pytest.MonkeyPatch):
    async def no_languages(_: object) -> dict[str, dict[str, str]]:
        return {}

    monkeypatch.setattr(sandbox_check, "_languages", no_languages)
    for namespaces, portable, status in ((HELD, OPEN, 0), (OPEN, HELD, 0), (OPEN, OPEN, 1)):

        async def examined(namespaces: Examination = namespaces, portable: Examination = portable):
            return {"namespaces": namespaces, "portable": portable}

        monkeypatch.setattr(sandbox_check, "_examine", examined)
        ran = CliRunner().invoke(app, ["check"])
        assert ran.exit_code == status
        assert ("no tier holds" in ran.stdout) == (status == 1)
        assert "Operation not permitted" in " ".join(ran.stdout.split())


@pytest.mark.unit
def test_what_is_missing_comes_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    settings = {"/proc/sys/user/max_user_namespaces": "0"}
    monkeypatch.setattr(sandbox_check, "_read", settings.get)
    assert missing("namespaces", OPEN) == ["user namespaces: `sysctl user.max_user_namespaces=10000`"]
    monkeypatch.setattr(sandbox_check, "_read", {}.get)
    assert "seccomp profile" in missing("namespaces", OPEN)[0]
    monkeypatch.setattr(sandbox_check.landlock, "abi", lambda: 0)
    assert "lsm=" in missing("portable", OPEN)[0]
    assert missing("portable", HELD) == []
