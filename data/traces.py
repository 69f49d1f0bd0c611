"""Prompt and response pairs for supervised stages, from a generator or a file: endless, seeded, shuffled.

Contract: what the n-th `take` gives hangs on (config, tokenizer, seed, n) alone. Generators never yield a held-out
problem. No pair is longer than `max_tokens`, prompt and response with eos together. Cells that hold token ids are used
as they are; of text, prompt and response are rendered and encoded.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from random import Random
from typing import Any, cast

import numpy as np

from configs.prompts import AdditionTraces, CountdownTraces, PlainTraces, ProgramTraces, RowTraces
from data import addition, countdown, programs
from data.chat import Tokenizer, check_problem, prompt_text, render_prompt, render_response
from data.errors import DataError
from data.prompt_source import SPECIAL_TOKENS_ROOM
from data.records import Int32Array
from data.rows import Row, ShuffledOrder, cursor, read_cursor, read_rows

MAX_DRAWS = 1000  # of traces in a row that are too long

Pair = tuple[Int32Array, Int32Array]  # [P] prompt ids, [T] response ids that end in eos
Program = Callable[[Random], tuple[str, str]]  # draws a problem; prompt text and response text


class TraceSource:
    """Raises DataError at construction for bad rows, and when pairs do not fit into `max_tokens`.

    A drawn trace that is too long is drawn again, of the same style, so that the shares of the styles hold.
    `held_out_share` of a file's prompts, by a hash of the prompt, is never taken; `held_out` gives their pairs.
    """

    def __init__(
        self, config: PlainTraces, tokenizer: Tokenizer, seed: int, *, max_tokens: int, held_out_share: float = 0.0
    ) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._seed = seed
        self._limit = max_tokens
        self._taken = 0
        self._rows: list[Row] = []
        self._held_out: list[Row] = []
        if isinstance(config, RowTraces):
            columns = (config.prompt_column, config.response_column)
            self._rows = read_rows(config.path, columns, token_columns=columns)
            self._check_rows(config)
            if held_out_share:
                self._hold_out(config, held_out_share)
            self._order = ShuffledOrder(len(self._rows), seed)
        else:
            for _, program in _styles(config):
                self._draw(program, Random(f"traces:{seed}"))

    @property
    def rows(self) -> int | None:
        """Pairs of one epoch; None for a generator, which has none."""
        return len(self._rows) if isinstance(self._config, RowTraces) else None

    def take(self) -> Pair:
        """[P] prompt ids and [T] response ids with eos."""
        config = self._config
        if isinstance(config, RowTraces):
            pair = self._row_pair(config, self._rows[self._order.row(self._taken)], "a row")
        else:
            rng = Random(f"traces:{self._seed}:{self._taken}")
            pair = self._draw(_choose(_styles(config), rng.random()), rng)
        self._taken += 1
        return pair

    def held_out(self, most: int) -> list[Pair]:
        """The first pairs of the share that is held out, in order of row, at most so many."""
        config = self._config
        assert isinstance(config, RowTraces)
        return [self._row_pair(config, row, "a row") for row in self._held_out[:most]]

    def state(self) -> dict[str, Any]:
        """The cursor, as JSON-able values."""
        return cursor(self._config.type, self._taken, len(self._rows))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises DataError when it belongs to other data."""
        self._taken = read_cursor(state, self._config.type, len(self._rows))

    def _draw(self, program: Program, rng: Random) -> Pair:
        for _ in range(MAX_DRAWS):
            problem, answer = program(rng)
            prompt_ids, _ = render_prompt(self._tokenizer, problem, system_prompt=None, template="raw")
            response_ids = render_response(self._tokenizer, answer)
            if len(prompt_ids) + len(response_ids) <= self._limit:
                return prompt_ids, response_ids
        raise DataError(
            f"{MAX_DRAWS} {self._config.type} traces in a row were longer than {self._limit} tokens, prompt and "
            "response together; raise `policy.max_model_len` or make the problems smaller."
        )

    def _row_pair(self, config: RowTraces, row: Row, where: str) -> Pair:
        prompt, response = row[config.prompt_column], row[config.response_column]
        prompt_ids, response_ids = _token_ids(prompt), _token_ids(response)
        if prompt_ids is None:
            prompt_ids, _ = render_prompt(
                self._tokenizer, prompt, system_prompt=config.system_prompt, template=config.template
            )
        if response_ids is None:
            response_ids = render_response(self._tokenizer, response)
        tokens = len(prompt_ids) + len(response_ids)
        if tokens > self._limit:
            raise DataError(
                f"{config.path}, {where}: prompt and response have {tokens} tokens, more than the context of "
                f"{self._limit}; raise `policy.max_model_len`, or shorten or remove the row."
            )
        return prompt_ids, response_ids

    def _check_rows(self, config: RowTraces) -> None:
        for number, row in enumerate(self._rows):
            place = f"{config.path}, row {number}"
            size = 0  # at most so many tokens
            prompt: object = row[config.prompt_column]
            if (prompt_ids := _token_ids(prompt)) is not None:
                size += self._check_tokens(prompt_ids, f"{place}: column {config.prompt_column!r}")
            else:
                problem = check_problem(prompt, f"{place}: column {config.prompt_column!r}")
                text = prompt_text(
                    self._tokenizer, problem, system_prompt=config.system_prompt, template=config.template
                )
                size += len(text.encode()) + SPECIAL_TOKENS_ROOM
            response: object = row[config.response_column]
            if (response_ids := _token_ids(response)) is not None:
                size += self._check_tokens(response_ids, f"{place}: column {config.response_column!r}")
            elif isinstance(response, str) and response:
                size += len(response.encode()) + 1
            else:
                raise DataError(
                    f"{place}: column {config.response_column!r} is {str(response)[:80]!r}; a response is text or "
                    "token ids, and not empty. Name another `response_column` or convert this one."
                )
            if size > self._limit:
                self._row_pair(config, row, f"row {number}")

    def _check_tokens(self, ids: Int32Array, where: str) -> int:
        """How many ids there are. Raises DataError for none, and for ids that the policy's tokenizer does not have."""
        size = len(self._tokenizer)
        if not len(ids) or int(ids.min()) < 0 or int(ids.max()) >= size:
            shown = f"ids from {ids.min()} to {ids.max()}" if len(ids) else "an empty list"
            raise DataError(
                f"{where} holds {shown}; token ids are at least one and below the {size} tokens of the policy's "
                "tokenizer. Use rows that a model with the same tokenizer sampled, or give columns of text."
            )
        return len(ids)

    def _hold_out(self, config: RowTraces, share: float) -> None:
        """Move the rows of a share of the prompts out of training."""
        prompts = [_hash_share(row[config.prompt_column]) for row in self._rows]
        self._held_out = [row for row, at in zip(self._rows, prompts, strict=True) if at < share]
        self._rows = [row for row, at in zip(self._rows, prompts, strict=True) if at >= share]
        if not self._rows or not self._held_out:
            raise DataError(
                f"{config.path}: a held-out share of {share:g} leaves {len(self._rows)} rows to train on and "
                f"{len(self._held_out)} to measure, and both need one. Choose another share, or give more prompts."
            )


def _token_ids(cell: object) -> Int32Array | None:
    """The cell when it holds token ids; None when it holds text or messages."""
    return cast("Int32Array", cell) if isinstance(cell, np.ndarray) else None


def _hash_share(prompt: object) -> float:
    """A number in [0, 1) that hangs on the prompt alone."""
    ids = _token_ids(prompt)
    content = json.dumps(prompt, sort_keys=True, ensure_ascii=False).encode() if ids is None else ids.tobytes()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") / 2**64


def _styles(config: AdditionTraces | CountdownTraces | ProgramTraces) -> list[tuple[float, Program]]:
    """The effortful, the quick and the hinted program of a task, each with its share; without those of share 0."""
    if isinstance(config, ProgramTraces):
        shares = (config.nested_share, 1 - config.nested_share)
        return [(share, program) for share, program in zip(shares, _programs(config), strict=True) if share > 0]
    if isinstance(config, AdditionTraces):
        share, programs = config.worked_share, _sums(config)
    else:
        share, programs = config.careful_share, _searches(config)
    rest = 1 - config.hinted_share
    shares = (share * rest, (1 - share) * rest, config.hinted_share)
    return [(share, program) for share, program in zip(shares, programs, strict=True) if share > 0]


def _choose(styles: list[tuple[float, Program]], draw: float) -> Program:
    """The style that a uniform draw of [0, 1) falls on."""
    for share, program in styles[:-1]:
        if draw < share:
            return program
        draw -= share
    return styles[-1][1]


def _sums(config: AdditionTraces) -> tuple[Program, Program, Program]:
    def lazy(rng: Random) -> tuple[str, str]:
        problem = addition.draw(config, rng, "train")
        return problem.text, addition.lazy(problem)

    def worked(rng: Random, *, hinted: bool = False) -> tuple[str, str]:
        problem = addition.draw(config, rng, "train")
        answer = addition.worked(problem, rng if config.comma_share else None, config.comma_share)
        return problem.hinted_text if hinted else problem.text, answer

    return worked, lazy, partial(worked, hinted=True)


def _searches(config: CountdownTraces) -> tuple[Program, Program, Program]:
    def program(
        answer: Callable[[countdown.CountdownProblem, int], str], rng: Random, *, hinted: bool = False
    ) -> tuple[str, str]:
        problem = countdown.draw(config, rng, "train")
        text = countdown.hinted_text(problem, config.max_value) if hinted else problem.text
        return text, answer(problem, config.max_value)

    careful = partial(program, countdown.careful)
    return careful, partial(program, countdown.careless), partial(careful, hinted=True)


def _programs(config: ProgramTraces) -> tuple[Program, Program]:
    def program(answer: Callable[[programs.ProgramProblem], str], rng: Random) -> tuple[str, str]:
        problem = programs.draw(config, rng, "train")
        return problem.text, answer(problem)

    return partial(program, programs.nested), partial(program, programs.flat)
