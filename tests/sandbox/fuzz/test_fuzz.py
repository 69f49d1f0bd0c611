"""A short run of the fuzzer in each tier finds nothing; a longer one is a command (fuzz.py)."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.sandbox.fuzz.programs import random_program

ROOT = Path(__file__).resolve().parents[3]
MINUTES = 0.1


@pytest.mark.integration
@pytest.mark.parametrize("isolation", ["namespaces", "portable"])
def test_random_programs_neither_pass_nor_break_anything(isolation: str):
    command = [sys.executable, "-m", "tests.sandbox.fuzz.fuzz", isolation, "--minutes", str(MINUTES), "--seed", "7"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    if "SandboxUnavailable" in process.stderr:
        pytest.skip(f"no {isolation} on this machine: {process.stderr.strip().splitlines()[-1]}")
    assert process.returncode == 0, process.stdout + process.stderr
    assert json.loads(process.stdout.splitlines()[-1])["programs"] > 0


@pytest.mark.unit
def test_a_seed_brings_a_program_back():
    def sources(seed: int) -> list[str]:
        return [random_program(Random(f"{seed}:{n}"), "secret").source for n in range(100)]

    assert sources(1) == sources(1)
    assert sources(1) != sources(2)
    assert len(set(sources(1))) > 90
