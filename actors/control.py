"""A mailbox by which another terminal talks to a running job: `rayzero scale RUN --rollouts N`.

A named Ray actor that the driver owns (it dies with the driver). The driver waits on `next_command`; nobody polls.
"""

import asyncio
from pathlib import Path
from typing import Any

import ray

NAMESPACE = "rayzero"


@ray.remote(num_cpus=0, max_concurrency=64)  # pyright: ignore[reportCallIssue]
class Control:
    """Commands in, answers out."""

    def __init__(self) -> None:
        self._commands: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[str]]] = asyncio.Queue()
        self._answer: asyncio.Future[str] | None = None

    async def ask(self, command: dict[str, Any]) -> str:
        """Called from the other terminal; returns the driver's answer."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._commands.put((command, answer))
        return await answer

    async def next_command(self) -> dict[str, Any]:
        """Called by the driver; waits for a command. Each must be answered before the next is taken."""
        command, self._answer = await self._commands.get()
        return command

    async def answer(self, text: str) -> None:
        """Called by the driver after it has done what was asked."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(text)


def actor_name(run_folder: Path) -> str:
    """Name of a run's control actor in the namespace `rayzero`; the folder above tells stages of pipelines apart."""
    folder = run_folder.absolute()
    return f"control-{folder.parent.name}/{folder.name}"
