"""Weight sync: learner group to rollout fleet. Satisfies `trainers.ports.Publisher`.

The group of workers is formed anew whenever membership changes. Sending the same version again changes nothing. A
worker that fails an update is replaced; the others go on. Workers that join between updates are given the present
weights at once, or as soon as the learner has ended its step. The version is the learner's own count, read in the same
call that sends the weights, so that it names what was sent even when a joining worker is served right after a step.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from actors.fleet import Fleet
from actors.fleet_client import Member, TransferPlan
from actors.learner_group import LearnerDied, LearnerGroup
from configs.engines import WeightTransfer
from data.records import Int32Array, SyncReport

log = logging.getLogger(__name__)


class WeightsDiffer(RuntimeError):
    """The engine does not compute what the learner computes: training would go wrong in silence."""


class Publisher:
    """`probe_prompt`: [P] token ids of the fixed prompt that both sides score."""

    def __init__(
        self, learner: LearnerGroup, fleet: Fleet, config: WeightTransfer, *, folder: Path, probe_prompt: Int32Array
    ) -> None:
        self._learner = learner
        self._fleet = fleet
        self._config = config
        self._folder = folder
        self._probe_prompt = probe_prompt
        self._lock = asyncio.Lock()
        self._version: int | None = None
        self._group: tuple[int, frozenset[str]] | None = None  # the learner's stage and the workers connected to it
        self._joins: set[asyncio.Task[SyncReport]] = set()
        fleet.on_change = self._welcome

    async def publish(self, version: int) -> SyncReport:
        """Bring the learner's weights to every worker.

        Waits for a replacement when every worker is dead. Raises LearnerDied, WeightsDiffer, FleetFailed when no worker
        comes, or RuntimeError when the learner is at another version.
        """
        async with self._lock:
            report = await self._publish(probe=True)
        if report.version != version:
            raise RuntimeError(f"version {version} was to be published, but the learner is at {report.version}")
        return report

    async def _publish(self, *, probe: bool) -> SyncReport:
        """`probe`: compare the two sides when that is due; the learner must not begin a step meanwhile."""
        start = time.perf_counter()
        with self._fleet.updating():
            sent = await self._send()
        for name, cause in sent["failures"].items():
            self._fleet.remove(name, cause)
        self._version = version = int(sent["version"])
        self._fleet.mark_serving(set(sent["pauses_s"]))
        sync_s = time.perf_counter() - start
        due = probe and self._config.probe_every > 0 and version % self._config.probe_every == 0
        return SyncReport(
            version=version,
            workers=len(sent["pauses_s"]),
            sync_s=sync_s,
            pause_s=max(sent["pauses_s"].values()),
            bytes_sent=sent["bytes"],
            probe_error=await self._probe() if due else None,
        )

    async def _send(self) -> dict[str, Any]:
        """Send to the live workers, forming the group anew when they changed or one of them broke it."""
        for attempt in (1, 2, 3):
            members = await self._fleet.wait_for_members()
            group = (self._learner.stage, frozenset(member.name for member in members))
            try:
                if group != self._group:
                    self._group = None  # until the new one stands
                    await self._open(members)
                    self._group = group
                return await self._learner.send_weights(self._config.timeout_s)
            except LearnerDied as error:
                self._group = None
                if attempt == 3:
                    raise
                await self._fleet.remove_dead()
                log.warning("the weight update failed and is tried again with a new group: %s", error)
        raise AssertionError("unreachable")

    async def _open(self, members: tuple[Member, ...]) -> None:
        address, port = await self._learner.rendezvous()
        folder = str(self._folder)
        plan = TransferPlan(self._config.backend, members, address, port, folder, self._config.timeout_s)
        await self._learner.open_transfer(plan)

    async def _probe(self) -> float | None:
        """Largest difference in nats; None when no engine could be asked."""
        engines, learner = await asyncio.gather(
            self._fleet.prompt_logprobs(self._probe_prompt, self._config.timeout_s),
            self._learner.prompt_logprobs(self._probe_prompt),
        )
        errors = {name: float(np.abs(logprobs - learner).max()) for name, logprobs in engines.items()}
        for name, error in errors.items():
            if not error <= self._config.probe_tolerance:
                raise WeightsDiffer(
                    f"at version {self._version} the engine of {name} differs from the learner by {error:.3g} nats on "
                    f"the probe prompt; weight_transfer.probe_tolerance is {self._config.probe_tolerance:g}. The "
                    "weights did not arrive as they were sent, or the two sides use different number formats"
                )
        return max(errors.values(), default=None)

    async def close(self) -> None:
        """Give up on workers that wait for weights. Called before fleet and learner end."""
        self._fleet.on_change = lambda: None
        for task in self._joins:
            task.cancel()
        await asyncio.gather(*self._joins, return_exceptions=True)

    def _welcome(self) -> None:
        """A worker is ready for weights: give it the present ones, unless the first update is still to come."""
        if self._version is None and not self._lock.locked():
            return
        task = asyncio.get_running_loop().create_task(self._welcome_publish())
        self._joins.add(task)
        task.add_done_callback(self._joined)

    async def _welcome_publish(self) -> SyncReport:
        async with self._lock:
            return await self._publish(probe=False)

    def _joined(self, task: "asyncio.Task[SyncReport]") -> None:
        self._joins.discard(task)
        if not task.cancelled() and task.exception() is not None:
            cause = f"giving weights to a new rollout worker failed: {task.exception()}"
            log.warning("%s", cause)
            self._fleet.note_cause(cause)
