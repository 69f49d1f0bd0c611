"""The child of one run: it raises its walls, says so, and only then reads the first byte of the program."""

import os
import signal
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from sandbox.inside import executing, programs
from sandbox.walls import kernel, landlock, privileges, resources, seccomp

CONFINED = b"confined"
UNCONFINED_STATUS = 125


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the zygote prepared for the child to apply to itself."""

    limits: resources.Limits
    drop_capabilities: bool
    ruleset_fd: int | None
    instructions: bytes | None
    folder: str  # where the run is at its beginning

    def apply(self) -> None:
        """Capabilities before system calls, because afterwards they can no longer be asked about. Raises OSError."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.limits.apply()
        if self.drop_capabilities:
            privileges.drop_capabilities()
        if self.ruleset_fd is not None:
            landlock.restrict(self.ruleset_fd)
        if self.instructions is not None:
            seccomp.load(self.instructions)


def main(job: dict[str, Any], descriptors: list[int], confinement: Confinement) -> NoReturn:
    """Run the job and end the process; nothing above it on the stack is ever returned to.

    `descriptors`: standard input, output and error, the program, for calls requests and replies, and last the pipe
    on which the child says that its walls stand. The zygote holds that pipe's other end, so a run that ends without
    that word was never started, and one that ends after it was the program's own doing.
    """
    status = UNCONFINED_STATUS
    confirm: int | None = descriptors[-1]
    try:
        os.setsid()
        wanted = [*descriptors, confinement.ruleset_fd] if confinement.ruleset_fd is not None else descriptors
        resources.place_descriptors(wanted)
        confirm = len(descriptors) - 1
        if confinement.ruleset_fd is not None:
            confinement = replace(confinement, ruleset_fd=len(descriptors))
        os.chdir(confinement.folder)
        confinement.apply()
        if confinement.ruleset_fd is not None:
            os.close(confinement.ruleset_fd)
        os.write(confirm, CONFINED)
        os.close(confirm)
        confirm = None
        status = executing.run(job) if "arguments" in job else programs.run(job)
    except BaseException as error:  # before the walls stand this is the sandbox's failure, and told as such
        if confirm is not None:
            os.write(confirm, f"{error or type(error).__name__}".encode()[:4096])
        else:
            status = programs.FAILED_STATUS
    finally:
        os._exit(status)
