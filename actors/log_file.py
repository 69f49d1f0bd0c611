"""One log file per actor in the run's folder: what its process prints, its engine's processes included."""

import logging
import os
import sys
from pathlib import Path

LOG_FILE_VARIABLE = "RAYZERO_LOG_FILE"


def write_log_file() -> None:
    """Send this process's output to the file that the driver named. Called first in each actor."""
    path = os.environ.get(LOG_FILE_VARIABLE)
    if not path:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)


def log_environment(run_folder: Path, actor: str) -> dict[str, str]:
    """Environment that makes `write_log_file` write `logs/<actor>.log`."""
    return {LOG_FILE_VARIABLE: str((run_folder / "logs" / f"{actor}.log").absolute())}


def last_lines(run_folder: Path, actor: str, count: int = 15) -> str:
    """The end of an actor's log, for error messages; empty when there is none."""
    path = run_folder / "logs" / f"{actor}.log"
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 16384))
        lines = file.read().decode(errors="replace").splitlines()[-count:]
    return f"\nThe last lines of {path}:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
