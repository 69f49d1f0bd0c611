"""A run by the real command in a process of its own, as a terminal would start it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

PATIENCE_S = 300.0  # engines start slowly on two cores that others use too


def rayzero(*arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Another terminal: one command, to its end."""
    return subprocess.run(_program(*arguments), capture_output=True, text=True, env=_environment(), timeout=timeout_s)


class RunProcess:
    """`rayzero train` with a config. It leads a session, so that a signal reaches all its processes as Ctrl-C does."""

    def __init__(self, config: dict[str, Any], scratch: Path, *arguments: str) -> None:
        self.folder = Path(config["runs_folder"]) / config["name"]
        file = scratch / f"{config['name']}.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._output = scratch / f"{config['name']}-{time.monotonic_ns()}.out"
        with open(self._output, "w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                _program("train", str(file), *arguments),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def until(self, what: str, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait for the condition; fails when the run ends first, or does not get there in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert not self.ended, f"the run ended before {what}:\n{self.output[-4000:]}"
            assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}\n{self.output[-4000:]}"
            self.wait_a_little(0.1)

    def wait_a_little(self, seconds: float) -> None:
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return

    def ctrl_c(self) -> None:
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code."""
        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run goes on after {timeout_s:g} s:\n{self.output[-4000:]}") from None

    def kill(self) -> None:
        """End it whatever it does, with all its processes."""
        for process in [*self.processes(), self._process]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait()

    def processes(self) -> list[psutil.Process]:
        """Everything that it has started, now."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def actors(self, name: str, title: str = "ray::") -> list[psutil.Process]:
        """Live processes whose log file is `<name>*.log` (`rollout-`, `learner-1`) and whose title begins so.

        The actors themselves are Ray's; the engine of a rollout worker is a process of its own, `VLLM::EngineCore`.
        """
        return [
            process
            for process in self.processes()
            if log_file(process).startswith(str(self.folder / "logs" / name)) and process_title(process, title)
        ]

    def steps(self) -> int:
        """Optimizer steps whose metrics are written."""
        lines = metric_lines(self.folder)
        return max((line["step"] for line in lines if "train/loss" in line), default=0)

    def serving(self, since_s: float = 0.0) -> int:
        """Rollout workers that serve, as the last step tells that ended after `since_s` (seconds since 1970)."""
        lines = [line for line in metric_lines(self.folder) if "rollout/workers" in line and line["time"] > since_s]
        return int(lines[-1]["rollout/workers"]) if lines else 0


def metric_lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def log_file(process: psutil.Process) -> str:
    try:
        return process.environ().get("RAYZERO_LOG_FILE", "")
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


def process_title(process: psutil.Process, title: str) -> bool:
    try:
        return process.name().startswith(title[:15]) and " ".join(process.cmdline()).startswith(title)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def left_behind(folder: Path, timeout_s: float = 20.0) -> list[psutil.Process]:
    """Processes that still write a log of this run after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while left := [process for process in psutil.process_iter() if log_file(process).startswith(str(folder))]:
        if time.monotonic() > deadline:
            break
        psutil.wait_procs(left, timeout=1)
    return left


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
