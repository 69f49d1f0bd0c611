"""A teacher whose answers were recorded: rows of a file, served as groups, so that the rejection loop filters them.

Contract: stands where a rollout fleet and its prompts stand. Rows with the same prompt are the answers to one problem;
problems come in order of their first row, each once. Texts are encoded with the student's tokenizer. Logprobs are NaN:
nobody knows them, and a policy gradient refuses them.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.distill import RecordedTeacher
from data.chat import Tokenizer, check_problem, render_prompt, render_response
from data.errors import DataError
from data.records import Completion, Group, GroupRequest, Prompt
from data.rows import Row, cursor, read_cursor, read_rows


class RecordedAnswers:
    """Raises DataError at construction for bad rows."""

    def __init__(self, config: RecordedTeacher, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        self._config, self._tokenizer, self._limit = config, tokenizer, max_tokens
        packed = () if config.reference_json is None else (config.reference_json,)
        columns = (config.prompt_column, config.response_column, *config.reference_columns, *packed)
        self._rows = read_rows(config.path, columns)
        self._rows_of: dict[str, list[Row]] = {}
        for number, row in enumerate(self._rows):
            where = f"{config.path}, row {number}: column"
            check_problem(row[config.prompt_column], f"{where} {config.prompt_column!r}")
            if not isinstance(row[config.response_column], str):
                raise DataError(f"{where} {config.response_column!r} is no text; name another `response_column`.")
            if config.reference_json is not None:
                _check_object(row[config.reference_json], f"{where} {config.reference_json!r}")
            self._rows_of.setdefault(str(row[config.prompt_column]), []).append(row)
        self._problems = list(self._rows_of)
        self._taken = 0

    @property
    def problems(self) -> int:
        """Different prompts."""
        return len(self._problems)

    @property
    def most_answers(self) -> int:
        """To one problem."""
        return max(len(rows) for rows in self._rows_of.values())

    def take(self) -> Prompt:
        """The next problem; after the last the first again."""
        config, key = self._config, self._problems[self._taken % len(self._problems)]
        self._taken += 1
        row = self._rows_of[key][0]
        token_ids, text = render_prompt(
            self._tokenizer, row[config.prompt_column], system_prompt=config.system_prompt, template=config.template
        )
        reference: dict[str, Any] = {column: row[column] for column in config.reference_columns}
        if config.reference_json is not None:
            reference |= json.loads(row[config.reference_json])
        return Prompt(key, token_ids, text, reference)

    def state(self) -> dict[str, Any]:
        """The cursor, as JSON-able values."""
        return cursor("recorded", self._taken, len(self._rows))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises DataError when it belongs to other data."""
        self._taken = read_cursor(state, "recorded", len(self._rows))

    async def generate(self, request: GroupRequest) -> Group:
        """The answers to the request's problem, however many there are."""
        rows = self._rows_of[request.prompt.prompt_id]
        completions = tuple(self._completion(row, len(request.prompt.token_ids)) for row in rows)
        return Group(request.group_id, request.prompt, completions, "recorded", 0.0)

    def _completion(self, row: Row, prompt_tokens: int) -> Completion:
        text: str = row[self._config.response_column]
        token_ids = render_response(self._tokenizer, text)
        return Completion(
            token_ids=token_ids,
            logprobs=np.full(len(token_ids), np.nan, dtype=np.float32),
            versions=np.zeros(len(token_ids), dtype=np.int32),
            text=text,
            finish_reason="stop" if prompt_tokens + len(token_ids) <= self._limit else "length",
        )


def _check_object(cell: object, where: str) -> None:
    try:
        found: object = json.loads(cell) if isinstance(cell, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{where} is {str(cell)[:80]!r}, not a JSON object; name another `reference_json`.")
