"""The tiers: which walls stand together, and what a zygote is told about it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sandbox import interpreter
from sandbox.limits import SandboxLimits
from sandbox.results import Isolation

FIRST_OUTSIDE_UID = 59_000  # what root's workers become; above what systems give to people and services


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of walls under a name. One with fewer than a named tier only serves to show that the self-test sees it."""

    name: Isolation
    namespaces: bool
    landlock: bool
    seccomp: bool

    @property
    def confined(self) -> bool:
        """Whether there is any wall at all."""
        return self.namespaces or self.landlock or self.seccomp

    def interpreter(self, outside_uid: int) -> interpreter.Interpreter:
        """With an own root the zygote is still root while it shows the library; otherwise it needs a readable one.

        Raises SandboxUnavailable.
        """
        return interpreter.find(self.needs_readable(outside_uid))

    def needs_readable(self, outside_uid: int) -> int | None:
        """The user that must be able to read what runs; None when it is shown in a root of its own, or run as is."""
        return outside_uid if os.getuid() == 0 and self.confined and not self.namespaces else None

    def settings(self, limits: SandboxLimits, outside_uid: int, cgroups: list[str]) -> dict[str, Any]:
        """What `inside.zygote.Settings` says, as JSON. Raises SandboxUnavailable."""
        python = self.interpreter(outside_uid)
        return {
            "namespaces": self.namespaces,
            "landlock": self.landlock,
            "seccomp": self.seccomp,
            "profile": "program",
            "outside_uid": outside_uid,
            "stack_bytes": limits.stack_bytes,
            "scratch_bytes": limits.scratch_bytes,
            "threads": limits.threads,
            "shown": [],
            "readable": list(python.readable),
            "masked": list(python.masked),
            "executable": [],
            "warm": list(interpreter.WARM),
            "cgroups": cgroups,
        }


TIERS: Mapping[Isolation, Tier] = MappingProxyType(
    {
        "namespaces": Tier("namespaces", namespaces=True, landlock=True, seccomp=True),
        "portable": Tier("portable", namespaces=False, landlock=True, seccomp=True),
        "unsafe_none": Tier("unsafe_none", namespaces=False, landlock=False, seccomp=False),
    }
)
