"""Every attack comes to nothing and every honest program passes: in both tiers, as root and as an ordinary user.

Each setting is one process (gauntlet.py) that writes a row for each program. A tier that this machine cannot hold is
skipped with the sandbox's own words; that the sandbox then refuses to serve is tested in tests/sandbox.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.attacks.gauntlet import ATTACKS, LEGAL

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 600  # for one setting; it takes half a minute on two idle cores
ORDINARY_USER = 12345
USERS = (0, ORDINARY_USER) if os.geteuid() == 0 else (os.geteuid(),)
SETTINGS = [(tier, user) for tier in ("namespaces", "portable") for user in USERS]
Rows = dict[str, dict[str, Any]]


def interpreter_for(user: int) -> str | None:
    """A Python 3.11 that this user may start and that may read the repository; None when there is none."""
    for python in (os.path.realpath(sys.executable), shutil.which("python3.11", path="/usr/local/bin:/usr/bin")):
        if python is not None:
            try:
                probe = subprocess.run(
                    [python, "-c", "import sys, sandbox; sys.exit(sys.version_info[:2] != (3, 11))"],
                    cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, user=user, group=user, extra_groups=[],
                    capture_output=True, check=False, timeout=60,
                )  # fmt: skip
            except PermissionError:
                continue
            if probe.returncode == 0:
                return python
    return None


def run_gauntlet(setting: tuple[str, int]) -> Rows | str:
    """The rows by id, or why there are none."""
    tier, user = setting
    python = interpreter_for(user)
    if python is None:
        return f"user {user} can run no Python 3.11 on {ROOT}: put one where everybody may read it"
    process = subprocess.run(
        [python, "-B", "-m", "tests.sandbox.attacks.gauntlet", tier],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "RAYZERO_ATTACK_SECRET": f"secret-{secrets.token_hex(8)}"},
        user=user,
        group=user,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    if "SandboxUnavailable" in process.stderr and not process.stdout:
        return process.stderr.strip().splitlines()[-1]
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == 0, f"{process.stderr[-4000:]}\nlast row: {rows[-1:]}"
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def gauntlets() -> dict[tuple[str, int], Rows | str]:
    """Two settings at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SETTINGS, pool.map(run_gauntlet, SETTINGS), strict=True))


@pytest.fixture(params=SETTINGS, ids=[f"{tier}-uid{user}" for tier, user in SETTINGS])
def rows(request: pytest.FixtureRequest, gauntlets: dict[tuple[str, int], Rows | str]) -> Rows:
    """The rows of one setting."""
    found = gauntlets[request.param]
    if isinstance(found, str):
        pytest.skip(f"no {request.param[0]} for user {request.param[1]}: {found}")
    return found


def test_every_attack_comes_to_nothing_and_leaves_nothing(rows: Rows):
    breaches = [rows[attack.id] for attack in ATTACKS if attack.id in rows and rows[attack.id]["breach"]]
    assert breaches == []
    assert {attack.id for attack in ATTACKS} <= rows.keys()


def test_every_honest_program_passes(rows: Rows):
    honest = [program for program in LEGAL if program.id in rows]
    assert [rows[program.id] for program in honest if rows[program.id]["breach"]] == []
    assert len(honest) >= len(LEGAL) - sum(program.only is not None for program in LEGAL)


def test_a_caller_that_gives_up_leaves_no_process(rows: Rows):
    assert rows["the caller gives up"]["breach"] is None


def test_the_service_is_what_it_was(rows: Rows):
    assert rows["the service"]["breach"] is None
