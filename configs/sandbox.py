"""The sandbox of code rewards: which walls, how much a run may use, how many at once."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from configs.strict import Section

MiB = Annotated[int, Field(ge=1)]


class Sandbox(Section):
    """Isolated execution of the programs that the policy writes."""

    url: str | None = None
    """A sandbox service (`rayzero sandbox serve`) that runs the programs in place of each reward actor, such as
    `http://sandbox:8400`. Its limits must be the ones here."""
    token_file: str | None = None
    """File that holds the service's token, read by each reward actor; never the token itself."""
    token_env: str | None = None
    """Or the environment variable of the reward actors that holds it."""
    isolation: Literal["auto", "namespaces", "portable", "unsafe_none"] = "auto"
    """Which walls: `auto` takes `namespaces` where the machine has them, else `portable`; a tier that does not hold
    ends the run before it starts. `unsafe_none` has no walls, warns, and marks every result."""
    workers: PositiveInt | None = None
    """Programs that run at the same time on each reward actor; without it one for each core it may use."""
    cpu_s: PositiveFloat = 10.0
    """Processor time of one test, in seconds."""
    wall_s: PositiveFloat = 30.0
    """Time on the clock of one test, in seconds, without the time in the queue; far above `cpu_s` on busy machines."""
    memory_mib: Annotated[int, Field(ge=32)] = 1024
    """Resident memory of one test, in MiB; the interpreter takes 20 of them."""
    output_mib: MiB = 4
    """Standard output of one test, in MiB; more ends it."""
    scratch_mib: Annotated[int, Field(ge=0)] = 16
    """Temporary files of one test, in MiB; only `namespaces` has any."""
