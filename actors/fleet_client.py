"""The sender's view of the rollout workers: what vLLM's trainer engines call `client`, fanned out over Ray.

Runs in the process of learner rank 0. A worker that dies or fails during an update is left out and reported; the others
go on. Every wait has the plan's deadline.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError


@dataclass(frozen=True, slots=True)
class Member:
    """A rollout worker that takes part in updates."""

    name: str
    handle: Any  # of the RolloutWorker actor
    node: str
    processes: int  # engine processes (tensor parallel)


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """Who takes part in weight updates, and how."""

    backend: str
    members: tuple[Member, ...]
    address: str  # of learner rank 0
    port: int  # free port there (nccl)
    folder: str  # in shared memory (host)
    timeout_s: float


@dataclass(slots=True)
class UpdateReport:
    """What one update did to each worker."""

    pauses_s: dict[str, float] = field(default_factory=dict[str, float])  # of workers that now hold the version
    failures: dict[str, str] = field(default_factory=dict[str, str])  # worker -> cause


class FleetClient:
    """Satisfies vLLM's `VLLMWeightSyncClient`. `version` is set before each update."""

    def __init__(self, plan: TransferPlan, node: str) -> None:
        self.version = -1
        self._plan = plan
        self._node = node
        self._report = UpdateReport()
        self._blob: Any = None

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Give each worker its own ranks in the group (nccl), the same info otherwise."""
        offset = init_info.get("rank_offset")

        def call(member: Member) -> Any:
            nonlocal offset
            info = dict(init_info)
            if offset is not None:
                info["rank_offset"] = offset
                offset += member.processes
            return member.handle.init_weight_transfer.remote(info)

        self._fan_out(call)
        if self._report.failures:
            raise RuntimeError(f"weight transfer could not be opened: {self._report.failures}")

    def start_weight_update(self) -> None:
        self._fan_out(lambda member: member.handle.start_weight_update.remote())

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        self._fan_out(lambda member: self._send(member, update_info))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._report.pauses_s = self._fan_out(lambda member: member.handle.finish_weight_update.remote(self.version))
        self._blob = None
        if not self._report.pauses_s:
            raise RuntimeError(f"no rollout worker took version {self.version}: {self._report.failures}")

    def take_report(self) -> dict[str, Any]:
        report, self._report = self._report, UpdateReport()
        return {"pauses_s": report.pauses_s, "failures": report.failures}

    def _send(self, member: Member, update_info: Any) -> Any:
        if self._plan.backend != "host" or member.node == self._node:
            return member.handle.update_weights.remote(update_info)
        if self._blob is None:  # one copy in the object store serves every other node
            self._blob = ray.put(np.fromfile(update_info["path"], dtype=np.uint8))
        return member.handle.update_weights.remote(update_info, self._blob)

    def _fan_out(self, call: Callable[[Member], Any]) -> dict[str, Any]:
        """Call every member that has not failed, side by side. Returns each one's answer."""
        deadline = time.monotonic() + self._plan.timeout_s
        calls = {m.name: call(m) for m in self._plan.members if m.name not in self._report.failures}
        answers: dict[str, Any] = {}
        for name, reference in calls.items():
            try:
                answers[name] = ray.get(reference, timeout=max(0.0, deadline - time.monotonic()))
            except RayError as error:
                self._report.failures[name] = f"{type(error).__name__}: {error}".strip()
                if self._plan.backend == "nccl":
                    raise RuntimeError(f"worker {name} broke the nccl group: {error}") from error
        return answers
