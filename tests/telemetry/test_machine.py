"""Versions and readings of the machine."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from telemetry.metrics import check_name
from telemetry.system import SystemReader, parse_gpu_readings
from telemetry.versions import collect_versions, git_state

pytestmark = pytest.mark.unit


def test_versions_name_the_packages_and_neither_host_nor_user() -> None:
    versions = collect_versions()
    assert versions["packages"]["mlflow"]
    assert versions["python"].startswith("3.")
    assert set(versions) == {"python", "implementation", "platform", "packages", "git"}
    assert platform.node() not in versions["platform"].split("-")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, timeout=30)


def test_a_commit_is_dirty_once_a_tracked_file_changes(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "untracked").write_text("1")
    assert git_state(tmp_path) == clean
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == clean | {"dirty": True}


def test_a_reading_has_known_names_and_this_process(tmp_path: Path) -> None:
    reading = SystemReader(tmp_path, os.getpid()).read()
    assert {check_name(name) for name in reading} >= {"system/cpu_percent", "system/driver_rss_mib"}
    assert reading["system/driver_rss_mib"] > 5
    assert reading["system/memory_used_mib"] > 10
    assert reading["system/disk_free_gib"] > 0


def test_a_driver_on_another_node_is_left_out(tmp_path: Path) -> None:
    assert "system/driver_rss_mib" not in SystemReader(tmp_path, 2**22 + 1).read()


def test_gpu_lines_are_read_and_fields_without_a_number_left_out() -> None:
    assert parse_gpu_readings("0, 87, 40536\n1, [N/A], 12\n\n") == {
        "system/gpu0_utilization_percent": 87.0,
        "system/gpu0_memory_mib": 40536.0,
        "system/gpu1_memory_mib": 12.0,
    }
