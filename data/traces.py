"""Prompt and response pairs for supervised stages, from a generator or a file: endless, seeded, shuffled.

Contract: what the n-th `take` gives hangs on (config, tokenizer, seed, n) alone. Generators never yield a held-out
problem. No pair is longer than `max_tokens`, prompt and response with eos together.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from configs.prompts import AdditionTraces, CountdownTraces, ProgramTraces, RowTraces, Traces
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
    """

    def __init__(self, config: Traces, tokenizer: Tokenizer, seed: int, *, max_tokens: int) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._seed = seed
        self._limit = max_tokens
        self._taken = 0
        self._rows: list[Row] = []
        if isinstance(config, RowTraces):
            self._rows = read_rows(config.path, (config.prompt_column, config.response_column))
            self._check_rows(config)
            self._order = ShuffledOrder(len(self._rows), seed)
        else:
            for _, program in _styles(config):
                self._draw(program, Random(f"traces:{seed}"))

    def take(self) -> Pair:
        """[P] prompt ids and [T] response ids with eos."""
        config = self._config
        if isinstance(config, RowTraces):
            pair = self._row_pair(config, self._order.row(self._taken))
        else:
            rng = Random(f"traces:{self._seed}:{self._taken}")
            pair = self._draw(_choose(_styles(config), rng.random()), rng)
        self._taken += 1
        return pair

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

    def _row_pair(self, config: RowTraces, number: int) -> Pair:
        row = self._rows[number]
        prompt_ids, _ = render_prompt(
            self._tokenizer, row[config.prompt_column], system_prompt=config.system_prompt, template=config.template
        )
        response_ids = render_response(self._tokenizer, row[config.response_column])
        tokens = len(prompt_ids) + len(response_ids)
        if tokens > self._limit:
            raise DataError(
                f"{config.path}, row {number}: prompt and response have {tokens} tokens, more than the context of "
                f"{self._limit}; raise `policy.max_model_len`, or shorten or remove the row."
            )
        return prompt_ids, response_ids

    def _check_rows(self, config: RowTraces) -> None:
        for number, row in enumerate(self._rows):
            where = f"{config.path}, row {number}: column"
            problem = check_problem(row[config.prompt_column], f"{where} {config.prompt_column!r}")
            response: object = row[config.response_column]
            if not isinstance(response, str) or not response:
                raise DataError(
                    f"{where} {config.response_column!r} is {str(response)[:80]!r}; a response is text, and not empty. "
                    "Name another `response_column` or convert this one."
                )
            text = prompt_text(self._tokenizer, problem, system_prompt=config.system_prompt, template=config.template)
            if len(text.encode()) + len(response.encode()) + SPECIAL_TOKENS_ROOM > self._limit:
                self._row_pair(config, number)


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
