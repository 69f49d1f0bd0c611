"""The end of an actor's log goes into error messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.log_file import LOG_FILE_VARIABLE, last_lines, log_environment

pytestmark = pytest.mark.unit


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "rollout-0.log"


def test_the_last_lines_are_shown_with_the_file_they_are_from(tmp_path: Path, log: Path):
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert last_lines(tmp_path, "rollout-0", count=2) == f"\nThe last lines of {log}:\n  line 98\n  line 99"


def test_a_log_that_is_missing_or_empty_adds_nothing(tmp_path: Path, log: Path):
    assert last_lines(tmp_path, "rollout-0") == ""
    log.touch()
    assert last_lines(tmp_path, "rollout-0") == ""


def test_of_a_huge_log_only_the_end_is_read_and_broken_bytes_are_no_error(tmp_path: Path, log: Path):
    log.write_bytes("é".encode() * 1_000_000 + b"\n\xff\xfe the cause\n")
    text = last_lines(tmp_path, "rollout-0", count=1)
    assert text.endswith("the cause")
    assert len(last_lines(tmp_path, "rollout-0")) < 20_000


def test_a_process_writes_to_the_file_that_it_was_given(tmp_path: Path):
    environment = log_environment(tmp_path, "reward-0")
    assert environment == {LOG_FILE_VARIABLE: str(tmp_path / "logs" / "reward-0.log")}
    program = (
        "import os, sys\n"
        "from actors.log_file import write_log_file\n"
        "write_log_file()\n"
        "print('out', flush=True)\n"
        "sys.stderr.write('err\\n')\n"
        "os.system('echo child')\n"
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ | environment, check=True, timeout=60)
    assert (tmp_path / "logs" / "reward-0.log").read_text() == "out\nerr\nchild\n"
