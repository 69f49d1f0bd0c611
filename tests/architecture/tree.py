"""The real tree that the rules are held against: paths relative to the project's root, with forward slashes."""

from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ignored_names() -> list[str]:
    """Patterns of .gitignore, as names."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def top_level() -> set[str]:
    """Files and folders (with a slash) at the top, without what git leaves out."""
    skipped = [*ignored_names(), ".git"]
    entries = [entry for entry in ROOT.iterdir() if not any(fnmatch(entry.name, pattern) for pattern in skipped)]
    return {f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries}


def python_files(*folders: str) -> dict[str, str]:
    """Path -> source of every Python file in the folders."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
