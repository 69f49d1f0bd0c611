"""`rayzero sandbox check`: every attack of the self-test on every tier, and what to do about what is missing."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from sandbox import Isolation, Language, Sandbox, SandboxLimits
from sandbox.pool import SandboxFailed
from sandbox.selftest import Examination, examine
from sandbox.tiers import TIERS
from sandbox.walls import landlock

SERVED: tuple[Isolation, ...] = ("namespaces", "portable")


def check_walls() -> int:
    """Print the table; 0 when at least one tier holds, 1 when programs would be refused."""
    console = Console()
    with console.status("attacking the walls"):
        examined = asyncio.run(_examine())
        languages = asyncio.run(_languages(examined))
    console.print(_table(examined))
    holding = [name for name, tier in examined.items() if not tier.problems]
    for name, tier in examined.items():
        stands = ", ".join(tier.walls) or "nothing"
        console.print(f"{name}: {'holds' if name in holding else 'does not hold'}; raised: {stands}", highlight=False)
        for problem in tier.problems:
            console.print(f"  NO: {problem}", highlight=False, markup=False, soft_wrap=True)
        for line in missing(name, tier):
            console.print(f"  missing: {line}", highlight=False, markup=False, soft_wrap=True)
        for language, problem in languages.get(name, {}).items():
            console.print(f"  {language}: {problem or 'runs'}", highlight=False, markup=False, soft_wrap=True)
    served = f"`auto` takes {holding[0]}" if holding else "no tier holds: the sandbox refuses to run anything"
    console.print(f"{served}. See docs/sandbox.md.", highlight=False)
    return 0 if holding else 1


def _table(examined: Mapping[Isolation, Examination]) -> Table:
    """A row for each attack, a column for each tier; an attack that a tier was never put to is not shown as held."""
    title = f"rayzero sandbox check (Linux {os.uname().release}, Landlock ABI {landlock.abi()})"
    table = Table("wall", "attack", *examined, title=title, title_justify="left")
    rows = {(f.wall, f.attack): None for tier in examined.values() for f in tier.findings}
    for wall, attack in rows:
        cells: list[str] = []
        for tier in examined.values():
            got = [f.got for f in tier.findings if (f.wall, f.attack) == (wall, attack)]
            cells.append("-" if not got else "[red]NO[/]" if got[0] else "[green]holds[/]")
        table.add_row(wall or "all", attack, *cells)
    return table


async def _examine() -> dict[Isolation, Examination]:
    return {name: await examine(TIERS[name], SandboxLimits()) for name in SERVED}


async def _languages(examined: Mapping[Isolation, Examination]) -> dict[Isolation, dict[Language, str]]:
    """Of each tier that holds: why each language cannot be run there, empty when it can."""
    found: dict[Isolation, dict[Language, str]] = {}
    for name, tier in examined.items():
        if tier.problems:
            continue
        try:
            async with Sandbox(isolation=name, workers=1) as box:
                found[name] = {language: await box.language_problem(language) for language in get_args(Language)}
        except SandboxFailed as error:
            found[name] = {"python": str(error)}
    return found


def missing(name: Isolation, tier: Examination) -> list[str]:
    """What the tier would need on this machine, or could have in addition, and how to get it."""
    lines: list[str] = []
    refused = bool(tier.problems)
    if refused and name == "namespaces":
        lines += _namespaces_need()
    if refused and not _has(tier.walls, "landlock") and landlock.abi() == 0:
        lines.append("Landlock: Linux 5.13 or newer with `landlock` in the lsm= list of the kernel's command line")
    if refused and any("that the sandbox can use" in problem for problem in tier.problems):
        lines.append("a Python 3.11 outside the home folders, such as /usr/bin/python3.11")
    if refused and not lines:
        lines.append("see what came through above; report a wall that was raised and does not hold")
    if not refused and not _has(tier.walls, "landlock"):
        lines.append("(optional) Landlock as a second wall around files: Linux 5.13 or newer, lsm=...,landlock")
    if not refused and not _has(tier.walls, "cgroup"):
        lines.append("(optional) a cgroup that this user may write: exact limits on memory; without it it is watched")
    return lines


def _has(walls: Sequence[str], name: str) -> bool:
    return any(wall.startswith(name) for wall in walls)


def _namespaces_need() -> list[str]:
    lines: list[str] = []
    if _read("/proc/sys/user/max_user_namespaces") == "0":
        lines.append("user namespaces: `sysctl user.max_user_namespaces=10000`")
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        lines.append("user namespaces: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`")
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        lines.append("user namespaces: `sysctl kernel.unprivileged_userns_clone=1`")
    if not lines:
        lines.append(
            "user namespaces: in a container, a seccomp profile that lets `unshare` and `mount` through "
            "(Kubernetes: seccompProfile Unconfined or a profile of your own; docker: --security-opt seccomp=...)"
        )
    return lines


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
