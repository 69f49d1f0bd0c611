"""Readings of the machine the tracker runs on: CPU, memory, shared memory, disk, the run's processes, GPUs.

One reading costs some milliseconds. What cannot be read is left out; nothing is guessed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import psutil

_MIB = 1 << 20
_GPU_QUERY = ("nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits")
_GPU_TIMEOUT_S = 5


class SystemReader:
    """Reads `system/*`. The CPU reading is over the time since the reading before."""

    def __init__(self, run_folder: Path, driver_pid: int) -> None:
        self._run_folder, self._driver_pid = run_folder, driver_pid
        self._has_gpus = shutil.which(_GPU_QUERY[0]) is not None
        psutil.cpu_percent()  # opens the interval of the first reading

    def read(self) -> dict[str, float]:
        """One reading."""
        reading = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_used_mib": _memory_used_mib(),
            "system/disk_free_gib": shutil.disk_usage(self._run_folder).free / 2**30,
        }
        if Path("/dev/shm").is_dir():
            reading["system/shared_memory_mib"] = shutil.disk_usage("/dev/shm").used / _MIB
        driver, actors = _rss_mib(self._driver_pid)
        if driver is not None:
            reading["system/driver_rss_mib"] = driver
        reading["system/actors_rss_mib"] = actors
        return reading | (self._gpus() if self._has_gpus else {})

    def _gpus(self) -> dict[str, float]:
        try:
            done = subprocess.run(_GPU_QUERY, capture_output=True, text=True, timeout=_GPU_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError):  # a driver that hangs or is gone: no reading this time
            return {}
        return parse_gpu_readings(done.stdout)


def parse_gpu_readings(text: str) -> dict[str, float]:
    """From nvidia-smi's CSV: index, utilization in percent, memory in MiB; fields such as `[N/A]` are left out."""
    reading: dict[str, float] = {}
    for line in text.splitlines():
        index, *values = (field.strip() for field in line.split(","))
        for name, value in zip(("utilization_percent", "memory_mib"), values, strict=False):
            try:
                reading[f"system/gpu{int(index)}_{name}"] = float(value)
            except ValueError:
                continue
    return reading


def _memory_used_mib() -> float:
    """Memory of this container where it has a limit of its own (cgroup v2), else of the machine."""
    folder = Path("/sys/fs/cgroup")
    limit, current = folder / "memory.max", folder / "memory.current"
    if limit.exists() and limit.read_text().strip() != "max":
        return int(current.read_text()) / _MIB
    return psutil.virtual_memory().used / _MIB


def _rss_mib(driver_pid: int) -> tuple[float | None, float]:
    """Resident memory of the driver (None when it is not on this node) and of the other processes of its job.

    A process belongs to the job when Ray put the same job id into its environment as into ours, or when it descends
    from one that does. Shared pages count in every process that maps them.
    """
    job_id = os.environ.get("RAY_JOB_ID")
    processes = {process.pid: process for process in psutil.process_iter()}
    driver_mib: float | None = None
    actors_mib = 0.0
    for pid, process in processes.items():
        try:
            if pid == driver_pid:
                driver_mib = process.memory_info().rss / _MIB
            elif job_id and process.environ().get("RAY_JOB_ID") == job_id:
                actors_mib += process.memory_info().rss / _MIB
        except psutil.Error:  # it ended, or belongs to another user: not ours to count
            continue
    return driver_mib, actors_mib
