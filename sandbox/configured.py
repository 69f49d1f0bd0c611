"""From the config's section to a sandbox."""

from configs.sandbox import Sandbox as Section
from sandbox.box import Sandbox
from sandbox.limits import MIB, SandboxLimits


def configured(section: Section) -> Sandbox:
    """The sandbox that the section describes, not yet entered."""
    limits = SandboxLimits(
        cpu_s=section.cpu_s,
        wall_s=section.wall_s,
        memory_bytes=section.memory_mib * MIB,
        output_bytes=section.output_mib * MIB,
        scratch_bytes=section.scratch_mib * MIB,
    )
    return Sandbox(limits, section.isolation, section.workers)
