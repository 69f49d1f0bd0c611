"""Training and evaluation prompts, from a generator or a file: endless, seeded, shuffled, with a cursor to save.

Contract: what the n-th `take` gives hangs on (config, tokenizer, seed, n) alone; `first` hangs on neither seed nor
cursor, so every run is evaluated on the same problems. No prompt is longer than `max_prompt_tokens`.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from random import Random
from typing import Any

from configs.prompts import AdditionPrompts, CountdownPrompts, ProgramPrompts, Prompts, ReasoningGymPrompts, RowPrompts
from data import addition, countdown, programs
from data.chat import Problem, Tokenizer, check_problem, encode_prompt, prompt_text, render_prompt
from data.errors import DataError
from data.hints import hinted_problem
from data.reasoning_gym import Gym, GymProblem
from data.records import Prompt
from data.rows import Row, ShuffledOrder, cursor, read_cursor, read_rows

# A token covers at least one byte of UTF-8, but for the few special tokens around a prompt. Shorter texts therefore
# fit without being encoded, which keeps the check of a large file cheap.
SPECIAL_TOKENS_ROOM = 8


class PromptSource:
    """Raises DataError at construction for bad rows and for a prompt that is longer than `max_prompt_tokens`."""

    def __init__(self, config: Prompts, tokenizer: Tokenizer, seed: int, *, max_prompt_tokens: int) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._seed = seed
        self._limit = max_prompt_tokens
        self._taken = 0
        self._rows: list[Row] = []
        self._row_of_id: dict[str, int] = {}  # filled when a hint is asked for
        match config:
            case RowPrompts():
                self._rows = read_rows(config.path, (config.prompt_column, *config.reference_columns), ("id",))
                self._check_rows(config)
                self._order = ShuffledOrder(len(self._rows), seed)
            case AdditionPrompts():
                self._generated_prompt(addition.longest(config))
            case CountdownPrompts():
                self._generated_prompt(countdown.longest(config))
            case ProgramPrompts():
                self._generated_prompt(programs.longest(config))
            case ReasoningGymPrompts():
                self._gym = Gym(config)

    def take(self) -> Prompt:
        """The next training prompt. There is always one: files are reshuffled by (seed, epoch)."""
        config = self._config
        if isinstance(config, RowPrompts):
            prompt = self._row_prompt(config, self._order.row(self._taken))
        else:
            prompt = self._draw(config, Random(f"prompts:{self._seed}:{self._taken}"))
        self._taken += 1
        return prompt

    def first(self, n: int) -> list[Prompt]:
        """`n` different problems in a fixed order, for evaluation; of a file its first rows, at most `n`.

        Raises DataError when a generator's split has fewer problems.
        """
        config = self._config
        if isinstance(config, RowPrompts):
            return [self._row_prompt(config, number) for number in range(min(n, len(self._rows)))]
        found: dict[str, Prompt] = {}
        draws = 1000 + 100 * n  # enough to meet all of n equally likely problems, n ln n, many times over
        for index in range(draws):
            if len(found) >= n:
                break
            prompt = self._draw(config, Random(f"first:{index}"))
            found.setdefault(prompt.prompt_id, prompt)
        if len(found) < n:
            raise DataError(
                f"{n} different {config.type} problems are asked for, and {draws} draws of the {config.split} split "
                f"gave only {len(found)}; ask for fewer, or make the problems larger."
            )
        return list(found.values())

    def hinted(self, prompt: Prompt) -> Prompt:
        """The same problem with its answer shown in the prompt: for STaR's hints, never for training or evaluation.

        Raises DataError for rows without a `hint`, for programs and reasoning-gym, and for a hinted prompt
        that is longer than `max_prompt_tokens`.
        """
        config = self._config
        match config:
            case AdditionPrompts():
                text = addition.problem_of(prompt.prompt_id).hinted_text
                token_ids, text = render_prompt(self._tokenizer, text, system_prompt=None, template="raw")
            case CountdownPrompts():
                text = countdown.hinted_text(countdown.problem_of(prompt.reference), config.max_value)
                token_ids, text = render_prompt(self._tokenizer, text, system_prompt=None, template="raw")
            case ProgramPrompts() | ReasoningGymPrompts():
                raise _no_hints(config.type)
            case RowPrompts():
                problem = hinted_problem(self._problem(config, prompt.prompt_id), config.hint, prompt.reference)
                token_ids, text = render_prompt(
                    self._tokenizer, problem, system_prompt=config.system_prompt, template=config.template
                )
        self._check_length(len(token_ids), f"the hinted prompt {text!r}")
        return Prompt(prompt.prompt_id, token_ids, text, prompt.reference)

    def check_hints(self) -> None:
        """Raise what `hinted` would raise for the longest generated problem, or for any row."""
        config = self._config
        match config:
            case AdditionPrompts():
                self.hinted(self._generated_prompt(addition.longest(config)))
            case CountdownPrompts():
                # The longest problem need not have a solution, so a solution is as long as it can be.
                longest = countdown.longest(config)
                room = len(render_prompt(self._tokenizer, longest.text, system_prompt=None, template="raw")[0])
                self._check_length(room + 4 * config.numbers + 1, f"a hinted prompt of {longest.text!r}")
            case ProgramPrompts() | ReasoningGymPrompts():
                raise _no_hints(config.type)
            case RowPrompts():
                for number in range(len(self._rows)):
                    self.hinted(self._row_prompt(config, number))

    def _problem(self, config: RowPrompts, prompt_id: str) -> Problem:
        """The problem of the row that an id names."""
        if not self._row_of_id:
            self._row_of_id = {_row_id(row, config.prompt_column): n for n, row in enumerate(self._rows)}
        return self._rows[self._row_of_id[prompt_id]][config.prompt_column]

    def state(self) -> dict[str, Any]:
        """The cursor, as JSON-able values."""
        return cursor(self._config.type, self._taken, len(self._rows))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises DataError when it belongs to other data."""
        self._taken = read_cursor(state, self._config.type, len(self._rows))

    def _draw(
        self, config: AdditionPrompts | CountdownPrompts | ProgramPrompts | ReasoningGymPrompts, rng: Random
    ) -> Prompt:
        match config:
            case AdditionPrompts():
                return self._generated_prompt(addition.draw(config, rng, config.split))
            case CountdownPrompts():
                return self._generated_prompt(countdown.draw(config, rng, config.split))
            case ProgramPrompts():
                return self._generated_prompt(programs.draw(config, rng, config.split))
            case ReasoningGymPrompts():
                return self._gym_prompt(config, self._gym.draw(rng, config.split))

    def _gym_prompt(self, config: ReasoningGymPrompts, problem: GymProblem) -> Prompt:
        token_ids, text = render_prompt(
            self._tokenizer, problem.question, system_prompt=config.system_prompt, template=config.template
        )
        self._check_length(len(token_ids), f"task {problem.task!r} with seed {problem.seed}: the prompt")
        return Prompt(problem.prompt_id, token_ids, text, problem.reference)

    def _generated_prompt(
        self, problem: addition.AdditionProblem | countdown.CountdownProblem | programs.ProgramProblem
    ) -> Prompt:
        token_ids, text = render_prompt(self._tokenizer, problem.text, system_prompt=None, template="raw")
        self._check_length(len(token_ids), f"the prompt {text!r}")
        return Prompt(problem.prompt_id, token_ids, text, problem.reference)

    def _row_prompt(self, config: RowPrompts, number: int) -> Prompt:
        row = self._rows[number]
        token_ids, text = render_prompt(
            self._tokenizer, row[config.prompt_column], system_prompt=config.system_prompt, template=config.template
        )
        self._check_length(len(token_ids), f"{config.path}, row {number}: the prompt")
        reference = {column: row[column] for column in config.reference_columns}
        return Prompt(_row_id(row, config.prompt_column), token_ids, text, reference)

    def _check_rows(self, config: RowPrompts) -> None:
        row_of_id: dict[str, int] = {}
        for number, row in enumerate(self._rows):
            where = f"{config.path}, row {number}: column {config.prompt_column!r}"
            problem = check_problem(row[config.prompt_column], where)
            text = prompt_text(self._tokenizer, problem, system_prompt=config.system_prompt, template=config.template)
            if len(text.encode()) + SPECIAL_TOKENS_ROOM > self._limit:
                length = len(encode_prompt(self._tokenizer, text, template=config.template))
                self._check_length(length, f"{config.path}, row {number}: the prompt")
            if row.get("id") is not None and row_of_id.setdefault(str(row["id"]), number) != number:
                raise DataError(
                    f"{config.path}: rows {row_of_id[str(row['id'])]} and {number} have the same id {row['id']!r}; ids "
                    "name problems. Make them unique, or drop the column and the rows are named by their content."
                )

    def _check_length(self, tokens: int, where: str) -> None:
        if tokens > self._limit:
            raise DataError(
                f"{where} has {tokens} tokens, more than the {self._limit} that the context leaves for a prompt; raise "
                "`policy.max_model_len`, lower `rollout.max_completion_tokens`, or shorten or remove the prompt."
            )


def _no_hints(type: str) -> DataError:
    return DataError(f"problems of type {type} have no hints: leave out STaR's rationalization, or use other problems.")


def _row_id(row: Row, prompt_column: str) -> str:
    """The column `id`, or a stable hash of the problem where there is none."""
    if row.get("id") is not None:
        return str(row["id"])
    content = json.dumps(row[prompt_column], sort_keys=True, ensure_ascii=False)
    return f"rows:{blake2b(content.encode(), digest_size=8).hexdigest()}"
