"""The child of one run: it raises its walls, says so, and only then reads the first byte of the program."""

import os
import signal
from dataclasses import dataclass
from typing import Any, NoReturn

from sandbox.inside import executing, programs
from sandbox.walls import kernel, landlock, privileges, resources, seccomp

CONFINED = b"confined"
UNCONFINED_STATUS = 125


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the zygote prepared for the child to apply to itself, all but the filter, which says the child's pid."""

    rlimits: list[resources.Rlimit]
    drop_capabilities: bool
    ruleset_fd: int | None  # its number in the child
    folder: str  # where the run is at its beginning

    def apply(self, instructions: bytes | None) -> None:
        """Capabilities before system calls, because afterwards they can no longer be asked about. Raises OSError."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        resources.apply(self.rlimits)
        if self.drop_capabilities:
            privileges.drop_capabilities()
        if self.ruleset_fd is not None:
            landlock.restrict(self.ruleset_fd)
        if instructions is not None:
            seccomp.load(instructions)


def main(job: dict[str, Any], descriptors: list[int], confinement: Confinement, instructions: bytes | None) -> NoReturn:
    """Run the job and end the process; nothing above it on the stack is ever returned to.

    `descriptors`: standard input, output and error, the program, for calls requests and replies, then the pipe on
    which the child says that its walls stand, and last the ruleset when there is one. The zygote holds that pipe's
    other end, so a run that ends without that word was never started, and one that ends after it was the program's
    own doing.
    """
    status = UNCONFINED_STATUS
    confirm_at = len(descriptors) - (1 if confinement.ruleset_fd is None else 2)
    confirm: int | None = descriptors[confirm_at]
    try:
        os.setsid()
        resources.place_descriptors(descriptors)
        confirm = confirm_at
        os.chdir(confinement.folder)
        confinement.apply(instructions)
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
