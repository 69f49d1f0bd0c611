"""Supervised pairs as a config asks for them: one source, or several mixed by weight.

Contract: as that of data/traces.py. The next pair of a mixture is of the source that is furthest behind its share, so
after n pairs each source has given its share of n, give or take one; the order hangs on the weights alone.
"""

from collections.abc import Mapping
from typing import Any

from configs.prompts import MixtureTraces, Traces
from data.chat import Tokenizer
from data.errors import DataError
from data.records import Int32Array
from data.traces import TraceSource

Pair = tuple[Int32Array, Int32Array]  # [P] prompt ids, [T] response ids that end in eos


class MixtureSource:
    """Several trace sources as one."""

    def __init__(
        self, config: MixtureTraces, tokenizer: Tokenizer, seed: int, *, max_tokens: int, held_out_share: float = 0.0
    ) -> None:
        self._weights = [part.weight for part in config.sources]
        self._sources = [
            TraceSource(part.traces, tokenizer, seed, max_tokens=max_tokens, held_out_share=held_out_share)
            for part in config.sources
        ]
        self._taken = [0] * len(self._sources)

    @property
    def rows(self) -> int | None:
        """Pairs of one epoch: rows of all files together; None when a source is a generator."""
        sizes = [source.rows for source in self._sources]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def take(self) -> Pair:
        """The next pair of the source that is furthest behind."""
        behind = [(taken + 1) / weight for taken, weight in zip(self._taken, self._weights, strict=True)]
        number = behind.index(min(behind))
        self._taken[number] += 1
        return self._sources[number].take()

    def held_out(self, most: int) -> list[Pair]:
        """Pairs of every source's held-out share, in proportion to the weights, at most so many."""
        shares = [max(1, int(most * weight / sum(self._weights))) for weight in self._weights]
        pairs = [pair for source, share in zip(self._sources, shares, strict=True) for pair in source.held_out(share)]
        return pairs[:most]

    def state(self) -> dict[str, Any]:
        """The cursor, as JSON-able values."""
        return {"source": "mixture", "parts": [source.state() for source in self._sources]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises DataError when it belongs to other data."""
        if state["source"] != "mixture" or len(state["parts"]) != len(self._sources):
            raise DataError(
                f"the saved data cursor is not of a mixture of {len(self._sources)} sources, so the order would not "
                "continue. Resume with the same data, or start anew."
            )
        for source, part in zip(self._sources, state["parts"], strict=True):
            source.restore(part)
        self._taken = [int(part["taken"]) for part in state["parts"]]


PairSource = TraceSource | MixtureSource


def open_traces(
    config: Traces, tokenizer: Tokenizer, seed: int, *, max_tokens: int, held_out_share: float = 0.0
) -> PairSource:
    """The source that a config describes. Raises DataError, see TraceSource."""
    kind = MixtureSource if isinstance(config, MixtureTraces) else TraceSource
    return kind(config, tokenizer, seed, max_tokens=max_tokens, held_out_share=held_out_share)  # type: ignore[arg-type]


def held_out_pairs(source: PairSource, own: PairSource | None, most: int) -> list[Pair]:
    """Held-out pairs: the first of a source of their own, or of the share that the training source leaves out."""
    if own is not None:
        return [own.take() for _ in range(most if own.rows is None else min(most, own.rows))]
    return source.held_out(most)
