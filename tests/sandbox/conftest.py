"""One sandbox for each tier and file: a run takes milliseconds, a start does not."""

from collections.abc import AsyncGenerator
from typing import cast

import pytest
import pytest_asyncio

from sandbox import Isolation, Sandbox, SandboxLimits, selftest
from sandbox.limits import MIB
from sandbox.tiers import TIERS

LIMITS = SandboxLimits(cpu_s=1.0, wall_s=20.0, memory_bytes=256 * MIB, output_bytes=MIB)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["namespaces", "portable"])
async def box(request: pytest.FixtureRequest) -> AsyncGenerator[Sandbox]:
    """Entered, with two workers, in each tier that this machine has."""
    tier = cast(Isolation, request.param)
    if problems := await selftest.attack(TIERS[tier], LIMITS):
        pytest.skip(f"this machine has no {tier} tier: {problems}")
    async with Sandbox(LIMITS, tier, workers=2) as entered:
        yield entered
