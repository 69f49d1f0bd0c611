"""The books of a run: every admitted group is in exactly one place, or has left by exactly one way.

admitted = in flight + buffered + trained + rejected + failed + aborted. The loop counts the ways in and out here; what
is in flight and buffered is counted where it lies (the rollout buffer), so `check` compares two independent tallies.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


class BooksError(RuntimeError):
    """A group was lost or counted twice: a bug in the loop, never a matter of configuration."""


@dataclass(slots=True)
class Books:
    """Groups since the start of the run, over restarts too."""

    admitted: int = 0  # requests made
    trained: int = 0  # were in the batch of an optimizer step (also of one that was skipped)
    rejected: int = 0  # scored, and left out: no variance, too few valid completions, or too old
    failed: int = 0  # could not be sampled or scored
    aborted: int = 0  # given up at the end of the run

    def check(self, *, in_flight: int, buffered: int) -> None:
        """Raises BooksError when what came in is not what is here plus what went out."""
        accounted = in_flight + buffered + self.trained + self.rejected + self.failed + self.aborted
        if self.admitted != accounted:
            raise BooksError(
                f"The books do not balance: {self.admitted} groups were admitted, {accounted} are accounted for "
                f"({in_flight} in flight, {buffered} buffered, {self.trained} trained, {self.rejected} rejected, "
                f"{self.failed} failed, {self.aborted} aborted). This is a bug; the run stops before it trains on "
                "a group twice."
            )

    def as_dict(self) -> dict[str, int]:
        """For checkpoints and the summary."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """`books/*`."""
        return {f"books/{name}": float(count) for name, count in self.as_dict().items()}

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> "Books":
        """Inverse of `as_dict`."""
        return cls(**counts)
