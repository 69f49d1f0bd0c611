"""Languages beside Python: which tool of the machine runs them, behind which walls, and what of the machine it sees.

| language | step | what is executed | may fork | can open |
|---|---|---|---|---|
| c, cpp | compile | gcc or g++ and what they start | yes | headers, libraries, the compiler's own files |
| c, cpp | run | a static binary, from memory | no | no file at all |
| javascript | run | node | no | the shared libraries that node needs |

Python stays with the zygote (inside/programs.py).
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sandbox import interpreter
from sandbox.limits import GIB, MIB, SandboxLimits
from sandbox.tasks import Language

Purpose = Literal["toolchain", "binary", "engine"]

SOURCE_FILES: dict[Language, str] = {"c": "main.c", "cpp": "main.cpp"}
RESULT_FILE = "main"
_STANDARDS: dict[Language, str] = {"c": "gnu17", "cpp": "gnu++17"}
_COMPILERS: dict[Language, tuple[str, str]] = {
    "c": ("gcc", "gcc and libc6-dev"),
    "cpp": ("g++", "g++ (with libstdc++'s static library)"),
}
_OLDEST_NODE = 18
COMPILE_CPU_S, COMPILE_WALL_S = 10.0, 60.0


@dataclass(frozen=True, slots=True)
class Kit:
    """What a worker for other programs than Python is told; the rest of its settings are those of its tier."""

    purpose: Purpose
    readable: tuple[str, ...]  # in place of Python's library
    executable: tuple[str, ...]

    def settings(self, of_python: dict[str, Any]) -> dict[str, Any]:
        """`inside.zygote.Settings`, from those of a worker for Python."""
        return of_python | {
            "profile": self.purpose,
            "shown": of_python["readable"],
            "readable": list(self.readable),
            "executable": list(self.executable),
            "warm": [],
        }


class LanguageMissing(Exception):
    """This machine cannot run the language; says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A compiler or an engine, found on this machine."""

    arguments: tuple[str, ...]
    kit: Kit


BINARY_KIT = Kit("binary", (), ())


def compile_limits(limits: SandboxLimits) -> SandboxLimits:
    """Of the compiler, which is no program under test: enough for an honest source, whatever a test may use.

    Each of its processes has the processor time; the clock ends all of them.
    """
    return replace(
        limits,
        cpu_s=max(limits.cpu_s, COMPILE_CPU_S),
        wall_s=max(limits.wall_s, COMPILE_WALL_S),
        memory_bytes=max(limits.memory_bytes, GIB),
        stack_bytes=64 * MIB,
        output_bytes=64 * MIB,
        scratch_bytes=128 * MIB,
        threads=16,
    )


@cache
def compiler(language: Language) -> Tool:
    """Raises LanguageMissing."""
    name, package = _COMPILERS[language]
    path = _on_path(name)
    if path is None:
        raise LanguageMissing(f"{name} is not on the PATH; install {package}")
    library = "libstdc++.a" if language == "cpp" else "libc.a"
    try:
        if not os.path.isabs(_ask(path, f"-print-file-name={library}")):
            raise LanguageMissing(f"{name} has no {library}, and programs are linked statically; install {package}")
        tools = {tool: _ask(path, f"-print-prog-name={tool}") for tool in ("cc1", "cc1plus", "collect2", "as", "ld")}
        folder = os.path.dirname(_ask(path, "-print-libgcc-file-name"))
    except (OSError, subprocess.SubprocessError) as error:
        raise LanguageMissing(f"{path} does not work: {error}") from error
    found = {tool: shutil.which(given) for tool, given in tools.items()}
    own = "cc1plus" if language == "cpp" else "cc1"
    for tool in (own, "collect2", "as", "ld"):
        if found[tool] is None:
            raise LanguageMissing(f"{name} finds no `{tool}`; install {package}")
    executable = [path, *(place for place in found.values() if place), *_loaders()]
    libraries = interpreter.shared_libraries()
    headers = ("/usr/include", "/usr/local/include", os.path.realpath(folder), folder)
    arguments = (
        *(path, f"-std={_STANDARDS[language]}", "-O2", "-static", "-fno-lto", "-fno-use-linker-plugin", "-w"),
        *("-fmax-errors=20", "-fdiagnostics-color=never", "-o", RESULT_FILE, SOURCE_FILES[language], "-lm"),
    )
    readable = tuple(dict.fromkeys([*executable, *headers, *libraries]))
    return Tool(arguments, Kit("toolchain", readable, tuple(dict.fromkeys(executable))))


@cache
def engine(uid: int | None, stack_bytes: int, memory_bytes: int) -> Tool:
    """node, which the user `uid` must be able to read (None: it is shown to whoever needs it). Raises LanguageMissing.

    Its heap may grow beyond `memory_bytes`, so that the limit on memory ends the run, and not the engine's own end.
    """
    path = _on_path("node")
    if path is None:
        raise LanguageMissing(f"node is not on the PATH; install Node.js {_OLDEST_NODE} or newer")
    try:
        version = _ask(path, "--version")
        if int(version.lstrip("v").partition(".")[0]) < _OLDEST_NODE:
            raise LanguageMissing(f"{path} is {version}; install Node.js {_OLDEST_NODE} or newer")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise LanguageMissing(f"{path} does not work: {error}") from error
    if uid is not None and (blocked := interpreter.unreadable_for(uid, path)):
        raise LanguageMissing(f"{path}: user {uid} may not enter {blocked}; install Node.js outside the home folders")
    executable = (path, *_loaders())
    readable = (path, *interpreter.shared_libraries(), "/usr/share/nodejs", "/usr/share/zoneinfo")
    arguments = (
        *(path, f"--stack-size={stack_bytes * 3 // 4 // 1024}", f"--max-old-space-size={2 * memory_bytes // MIB}"),
        *("--no-warnings", "-e", _JAVASCRIPT, "--"),  # whatever follows is for the program above
    )
    return Tool(arguments, Kit("engine", readable, executable))


def _on_path(name: str) -> str | None:
    """The real file behind a name; a version manager's shell script is none."""
    path = shutil.which(name, path=f"/usr/local/bin:/usr/bin:/bin:{os.environ.get('PATH', '')}")
    return os.path.realpath(path) if path and "shims" not in Path(path).parts else None


def _ask(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env={"PATH": "/usr/bin:/bin"})
    return ran.stdout.strip()


def _loaders() -> list[str]:
    """What the kernel executes before a program that is linked dynamically."""
    name = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}.get(platform.machine())
    return [name] if name and os.path.exists(name) else []


# The program comes on descriptor 3, since there is no /proc with paths for descriptors; names of the standard streams
# are answered here for the same reason. The word `check` asks for its syntax alone. 99: see inside/programs.py.
_JAVASCRIPT = """
"use strict";
{
  const fs = require("fs"), vm = require("vm"), Module = require("module");
  const source = fs.readFileSync(3, "utf8").replace(/^#!.*/, "");
  fs.closeSync(3);
  const streams = new Map([["/dev/stdin", 0], ["/dev/stdout", 1], ["/dev/stderr", 2], ["/proc/self/fd/0", 0]]);
  for (const name of ["readFileSync", "writeFileSync", "readFile", "writeFile"]) {
    const real = fs[name];
    fs[name] = (path, ...rest) => real(streams.has(path) ? streams.get(path) : path, ...rest);
  }
  const open = fs.openSync, stream = fs.createReadStream;
  fs.openSync = (path, ...rest) => streams.has(path) ? streams.get(path) : open(path, ...rest);
  fs.createReadStream = (path, options) =>
    streams.has(path) ? stream(null, {...(typeof options === "string" ? {encoding: options} : options),
                                      fd: streams.get(path)}) : stream(path, options);
  const checks = process.argv[1] === "check";
  process.argv = [process.argv[0], "/main.js"];
  const main = new Module("/main.js");
  main.filename = "/main.js";
  main.paths = [];
  const names = ["exports", "require", "module", "__filename", "__dirname"];
  let run;
  try {
    run = vm.compileFunction(source, names, {filename: "main.js"});
  } catch (error) {
    fs.writeSync(2, String(error.stack || error));
    process.exit(99);
  }
  const require_ = Module.createRequire("/main.js");
  require_.main = main;
  if (!checks) run.call(main.exports, main.exports, require_, main, "/main.js", "/");
}
"""
