"""`rayzero sandbox run | check | serve`: the sandbox by itself, for people and as a service.

Exit codes: 0 done; 1 the program failed, no tier holds, or the service could not start; 2 a mistake in the call.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

import typer

from sandbox import Isolation, Language, Sandbox, SandboxLimits, SandboxUnavailable, TaskError, TestResult
from sandbox.limits import MIB

app = typer.Typer(no_args_is_help=True, help="Run untrusted programs behind walls, test the walls, serve them.")

SUFFIXES: dict[str, Language] = {
    ".py": "python",
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".js": "javascript",
    ".cjs": "javascript",
}
DEFAULT_PORT = 8400
TOKEN_VARIABLE = "RAYZERO_SANDBOX_TOKEN"
DEFAULTS = SandboxLimits()

IsolationOption = Annotated[
    Literal["auto", "namespaces", "portable", "unsafe_none"],
    typer.Option(help="Which walls. `auto`: namespaces where they hold, else portable."),
]
CpuOption = Annotated[float, typer.Option("--cpu-s", min=0.01, help="Processor time of one test, in seconds.")]
WallOption = Annotated[float, typer.Option("--wall-s", min=0.01, help="Time on the clock of one test, in seconds.")]
MemoryOption = Annotated[int, typer.Option("--memory-mib", min=32, help="Resident memory of one test, in MiB.")]
OutputOption = Annotated[int, typer.Option("--output-mib", min=1, help="Standard output of one test, in MiB.")]
ScratchOption = Annotated[int, typer.Option("--scratch-mib", min=0, help="Temporary files, in MiB (namespaces only).")]


def _limits(cpu_s: float, wall_s: float, memory_mib: int, output_mib: int, scratch_mib: int) -> SandboxLimits:
    return SandboxLimits(
        cpu_s=cpu_s,
        wall_s=wall_s,
        memory_bytes=memory_mib * MIB,
        output_bytes=output_mib * MIB,
        scratch_bytes=scratch_mib * MIB,
    )


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program.")],
    language: Annotated[
        str | None, typer.Option(help=f"{', '.join(get_args(Language))}; without it the file's suffix says.")
    ] = None,
    stdin: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its standard input; without it this command's own.")
    ] = None,
    isolation: IsolationOption = "auto",
    cpu_s: CpuOption = DEFAULTS.cpu_s,
    wall_s: WallOption = DEFAULTS.wall_s,
    memory_mib: MemoryOption = DEFAULTS.memory_bytes // MIB,
    output_mib: OutputOption = DEFAULTS.output_bytes // MIB,
    scratch_mib: ScratchOption = DEFAULTS.scratch_bytes // MIB,
) -> None:
    """Run one program file in the sandbox. Its output comes out here, how it went on standard error."""
    chosen = _language(file, language)
    try:
        source = file.read_bytes().decode("utf-8", "surrogateescape")
        given = stdin.read_bytes() if stdin else b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    except OSError as error:
        _refuse(str(error))
    box = Sandbox(_limits(cpu_s, wall_s, memory_mib, output_mib, scratch_mib), isolation, workers=1)
    try:
        result, output, tier = asyncio.run(_execute(box, chosen, source, given))
    except TaskError as error:
        _refuse(str(error))
    except SandboxUnavailable as error:
        _fail(str(error))
    _show(result, output, tier)
    raise typer.Exit(0 if result.outcome == "passed" else 1)


async def _execute(box: Sandbox, language: Language, source: str, stdin: bytes) -> tuple[TestResult, bytes, Isolation]:
    async with box:
        result, output = await box.execute(language, source, stdin)
        return result, output, box.isolation


def _language(file: Path, named: str | None) -> Language:
    known = get_args(Language)
    if named is not None:
        if named not in known:
            _refuse(f"--language {named}: it must be one of {', '.join(known)}")
        return named  # pyright: ignore[reportReturnType]
    if file.suffix not in SUFFIXES:
        _refuse(f"{file}: the suffix says no language ({', '.join(SUFFIXES)}); give --language")
    return SUFFIXES[file.suffix]


def _show(result: TestResult, output: bytes, tier: Isolation) -> None:
    if sys.stdout.isatty():  # an untrusted program must not steer the terminal
        sys.stdout.write(_harmless(output.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(output)
    sys.stdout.flush()
    outcome = "ran to its end" if result.outcome == "passed" else result.outcome
    detail = f": {_harmless(result.detail)}" if result.detail else ""
    if result.stderr:
        typer.echo(_harmless(result.stderr).rstrip("\n"), err=True)
    typer.echo(
        f"[{outcome}{detail}; {result.cpu_s:.3f} s of processor time, {result.wall_s:.3f} s on the clock, "
        f"{result.peak_memory_bytes / MIB:.1f} MiB; {tier}]",
        err=True,
    )


def _harmless(text: str) -> str:
    """Control characters but line ends and tabs as their escapes."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@app.command()
def check() -> None:
    """Attack every wall of every tier from inside and say what holds, what is missing and how to get it.

    Exit code 1 when no tier holds.
    """
    from cli.sandbox_check import check_walls

    raise typer.Exit(check_walls())


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all, in a closed network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = DEFAULT_PORT,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"File with the token; without it {TOKEN_VARIABLE} holds it.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Programs at the same time; default: one a core.")] = None,
    max_body_mib: Annotated[int, typer.Option("--max-body-mib", min=1, help="Largest task, in MiB of JSON.")] = 16,
    isolation: IsolationOption = "auto",
    cpu_s: CpuOption = DEFAULTS.cpu_s,
    wall_s: WallOption = DEFAULTS.wall_s,
    memory_mib: MemoryOption = DEFAULTS.memory_bytes // MIB,
    output_mib: OutputOption = DEFAULTS.output_bytes // MIB,
    scratch_mib: ScratchOption = DEFAULTS.scratch_bytes // MIB,
) -> None:
    """Serve the sandbox over HTTP to whoever holds the token; see `rewards.sandbox.url`. Ends with SIGTERM."""
    from cli.sandbox_service import serve as serve_sandbox
    from sandbox.configured import read_token

    try:
        token = read_token(token_file, None if token_file else TOKEN_VARIABLE)
    except SandboxUnavailable as error:
        _refuse(str(error))
    box = Sandbox(_limits(cpu_s, wall_s, memory_mib, output_mib, scratch_mib), isolation, workers)

    def ready(address: str, bound: int) -> None:
        typer.echo(f"sandbox ({box.isolation}, workers: {box.workers}) on http://{address}:{bound}")

    try:
        asyncio.run(serve_sandbox(box, token, host, port, max_body_mib * MIB, ready))
    except (SandboxUnavailable, OSError) as error:
        _fail(str(error))


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"error: {reason}", err=True)
    raise typer.Exit(2)


def _fail(reason: str) -> NoReturn:
    typer.echo(f"failed: {reason}", err=True)
    raise typer.Exit(1)
