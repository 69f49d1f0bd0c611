"""Which Python runs the programs, and the few paths of the host that it needs at run time."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox.results import SandboxUnavailable

VERSION = (3, 11)  # 3.12.1 ends recursion at some 500 calls of C functions and 3.13 at 3,300, whatever the stack
# Imported once and shared: what solutions usually import, and what loads libraries from places a run cannot see. Each
# page that they fill is mapped anew for every run, so asyncio is not among them: it would make the pages 1.4 times as
# many, and costs a program that imports it 23 ms.
WARM = (
    *("array", "bisect", "cmath", "collections", "contextlib", "copy", "ctypes", "dataclasses", "datetime"),
    *("decimal", "enum", "fractions", "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator"),
    *("random", "re", "statistics", "string", "struct", "threading", "time", "traceback", "typing", "unicodedata"),
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter and what must be readable for it to import its library."""

    path: str  # the real binary: a pyenv shim is a shell script
    library: str  # the standard library's folder
    readable: tuple[str, ...]
    masked: tuple[str, ...]  # installed packages within `readable`


@cache
def find(uid: int | None) -> Interpreter:
    """The interpreter of this process, or another one of VERSION that the user `uid` can read (None: any will do).

    Raises SandboxUnavailable when there is none.
    """
    refused: list[str] = []
    for path in _candidates():
        try:
            library = _library_of(path)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            refused.append(f"{path}: {error}")
            continue
        if uid is not None and (blocked := unreadable_for(uid, path, library)):
            refused.append(f"{path}: user {uid} may not enter {blocked}")
            continue
        masked = [str(Path(library) / name) for name in ("site-packages", "dist-packages", "test", "idlelib")]
        return Interpreter(path, library, (library, *shared_libraries(), "/usr/share/zoneinfo"), tuple(masked))
    wanted = ".".join(map(str, VERSION))
    raise SandboxUnavailable(
        f"no Python {wanted} that the sandbox can use: {'; '.join(refused) or 'none found'}. Install one outside the "
        f"home folders (for example /usr/bin/python{wanted} or /opt/python{wanted}) and put it on the PATH."
    )


def _candidates() -> list[str]:
    wanted = ".".join(map(str, VERSION))
    found = [sys.executable] if sys.version_info[:2] == VERSION else []
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin", "/opt/python/bin"):
        path = shutil.which(f"python{wanted}", path=folder) if folder else None
        if path and "shims" not in Path(path).parts:
            found.append(path)
    return list(dict.fromkeys(os.path.realpath(path) for path in found))


def _library_of(path: str) -> str:
    """The folder of `os.py`. Raises for anything that is no Python of VERSION."""
    if path == os.path.realpath(sys.executable):
        return str(Path(os.__file__).resolve().parent)
    code = "import os, sys; print(*sys.version_info[:2]); print(os.path.dirname(os.path.realpath(os.__file__)))"
    command = [path, "-I", "-S", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env={})
    version, library = ran.stdout.splitlines()
    if tuple(map(int, version.split())) != VERSION:
        raise ValueError(f"it is Python {version.replace(' ', '.')}")
    return library


def unreadable_for(uid: int, *paths: str) -> str | None:
    """The first folder or file on the way to `paths` that others may not use."""
    for path in paths:
        for place in [*reversed(Path(path).parents), Path(path)]:
            status = place.stat()
            needed = 0o5 if place == Path(path) else 0o1
            shift = 6 if status.st_uid == uid else 0
            if (status.st_mode >> shift) & needed != needed:
                return str(place)
    return None


def shared_libraries() -> list[str]:
    """The folder of the system's C library and its neighbours by every name it has, and the loader."""
    mapped = (Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line)
    folders = sorted({str(path.parent) for path in mapped if path.name.startswith(("libc.so", "libc-"))})
    names = [f"{way}/{Path(folder).name}" for way in ("/lib", "/usr/lib") for folder in folders]
    loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
    return [path for path in dict.fromkeys([*folders, *names, *loaders]) if os.path.exists(path)]
