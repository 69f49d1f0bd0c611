"""What one run may use. The same numbers hold in every tier; what enforces them is in docs/sandbox.md."""

from dataclasses import dataclass

KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of one test: one process for standard input and output, one call for functions.

    Raises ValueError for a limit that is not above zero (scratch may be 0).
    """

    cpu_s: float = 10.0  # processor time, all threads together
    wall_s: float = 30.0  # on the clock, for programs that sleep; far above cpu_s, since a busy machine slows all
    memory_bytes: int = GIB  # resident memory at its peak; the interpreter's own ~15 MiB are in it
    stack_bytes: int = 256 * MIB  # of the main thread, what deep recursion needs
    output_bytes: int = 4 * MIB  # on standard output; one byte more ends the run. Standard error: drained up to here
    scratch_bytes: int = 16 * MIB  # writable temporary files (`namespaces` only; `portable` has none)
    threads: int = 64  # `namespaces` only: elsewhere the kernel counts all the processes of the user
    source_bytes: int = 512 * KIB  # a longer program is a compile_error without being looked at
    reply_bytes: int = 8 * MIB  # one returned value, encoded

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (value > 0 or (value == 0 and name == "scratch_bytes")):
                raise ValueError(f"SandboxLimits.{name} is {value}; it must be above 0")
