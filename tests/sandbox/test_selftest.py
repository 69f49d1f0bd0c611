"""The self-test notices each wall that is missing, and a machine without walls is refused with what to do about it."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import Isolation, Sandbox, SandboxLimits, SandboxUnavailable, StdioTask, selftest
from sandbox.tiers import TIERS, Tier
from sandbox.worker import Worker, WorkerNotStarted

pytestmark = pytest.mark.integration

LIMITS = SandboxLimits()
TRIVIAL = StdioTask("python", "print(int(input()) + 1)", [("41", "42")])


@pytest.mark.parametrize(
    ("tier", "seen"),
    [
        (TIERS["unsafe_none"], "network: a connection to a TCP port"),
        (TIERS["unsafe_none"], "writing: a file outside"),
        (TIERS["unsafe_none"], "system calls: ptrace"),
        (replace(TIERS["portable"], landlock=False), "files: reading /etc/passwd"),
        (replace(TIERS["portable"], landlock=False), "writing: a file outside"),
        (replace(TIERS["portable"], seccomp=False), "processes: fork"),
        (replace(TIERS["namespaces"], seccomp=False), "processes: fork"),
        (replace(TIERS["namespaces"], seccomp=False), "system calls: ptrace"),
    ],
)
async def test_a_missing_wall_is_noticed(tier: Tier, seen: str) -> None:
    problems = await selftest.attack(tier, LIMITS)
    assert any(seen in problem for problem in problems), problems


async def test_namespaces_hold_the_files_without_landlock() -> None:
    """As on kernels that have none."""
    if problems := await selftest.attack(TIERS["namespaces"], LIMITS):
        pytest.skip(f"this machine has no namespaces tier: {problems}")
    assert await selftest.attack(replace(TIERS["namespaces"], landlock=False), LIMITS) == []


async def test_a_refused_mechanism_ends_in_an_error_that_names_it_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refused(*_: object, **__: object) -> Worker:
        raise WorkerNotStarted("unshare: Operation not permitted")

    monkeypatch.setattr(Worker, "start", refused)
    with pytest.raises(SandboxUnavailable) as caught:
        async with Sandbox():
            pass
    text = str(caught.value)
    assert "namespaces does not hold: unshare: Operation not permitted" in text
    assert "portable does not hold" in text
    assert "user.max_user_namespaces" in text
    assert "docs/sandbox.md" in text


async def test_auto_falls_back_to_the_next_tier_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attack = selftest.attack

    async def no_namespaces(tier: Tier, limits: SandboxLimits) -> list[str]:
        return ["unshare: Operation not permitted"] if tier.namespaces else await attack(tier, limits)

    monkeypatch.setattr(selftest, "attack", no_namespaces)
    with caplog.at_level(logging.WARNING):
        async with Sandbox(workers=1) as box:
            assert box.isolation == "portable"
            assert (await box.run(TRIVIAL)).isolation == "portable"
    assert "isolation is portable, because namespaces does not hold: unshare" in caplog.text


async def test_no_tier_is_swapped_for_another_when_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing_holds(tier: Tier, limits: SandboxLimits) -> list[str]:
        return [] if tier.name == "portable" else ["no"]

    monkeypatch.setattr(selftest, "attack", nothing_holds)
    with pytest.raises(SandboxUnavailable, match="namespaces does not hold: no"):
        async with Sandbox(isolation="namespaces"):
            pass


async def test_no_walls_only_by_name_with_a_warning_and_a_mark(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with Sandbox(isolation="unsafe_none", workers=1) as box:
            result = await box.run(TRIVIAL)
    assert (result.outcome, result.isolation) == ("passed", "unsafe_none")
    assert "no walls" in caplog.text


async def test_a_sandbox_that_was_not_entered_runs_nothing() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Sandbox().run(TRIVIAL)


UNPRIVILEGED = """
    import asyncio, json, os, sys
    sys.path.insert(0, sys.argv[1])
    os.setgroups([]); os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)
    from sandbox import Sandbox, StdioTask
    async def main():
        async with Sandbox(isolation=sys.argv[2], workers=1) as box:
            source = "import os, json\\nprint(int(input()) + 1, os.getuid() != 0)"
            result = await box.run(StdioTask("python", source, [("41", "42 True")]))
            print(json.dumps([box.isolation, result.outcome, result.detail]))
    asyncio.run(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("tier", ["namespaces", "portable"])
def test_an_ordinary_user_has_the_tier_too(tier: Isolation, tmp_path: Path) -> None:
    python = next((path for path in ("/usr/bin/python3.11", "/usr/local/bin/python3.11") if os.path.exists(path)), None)
    if python is None:
        pytest.skip("no Python 3.11 outside root's home")
    if asyncio.run(selftest.attack(TIERS[tier], LIMITS)):
        pytest.skip(f"this machine has no {tier} tier")
    package = Path(sys.modules[Sandbox.__module__].__file__ or "").parent
    copied = Path(f"/tmp/rayzero-test-{os.getpid()}-{tmp_path.name}")  # root's own temporary folders may be closed
    copied.mkdir()
    try:
        subprocess.run(["cp", "-r", "--", str(package), str(copied)], check=True)
        subprocess.run(["chmod", "-R", "a+rX", str(copied)], check=True)
        ran = subprocess.run(
            [python, "-I", "-c", textwrap.dedent(UNPRIVILEGED), str(copied), tier],
            capture_output=True, text=True, timeout=120, cwd="/", check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["rm", "-rf", "--", str(copied)], check=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f'["{tier}", "passed", ""]'
