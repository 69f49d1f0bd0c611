"""`rayzero reward check MODULE:FUNCTION`: whether a reward plug-in keeps its contract, before a run depends on it.

Exit codes: 0 it does (there may be warnings), 1 it does not, 2 a mistake in the call.
"""

import json
from typing import Annotated, Any, NoReturn, cast

import typer

from rewards.check import CALL_DEADLINE_S, check_plugin

app = typer.Typer(no_args_is_help=True, help="Rewards of your own.")
_MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@app.callback()
def rewards() -> None:
    """Keeps `check` a command of its own: typer folds a group of one."""


@app.command()
def check(
    plugin: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="As in `plugin:` of a reward part.")],
    reference: Annotated[str, typer.Option(help="What your problems carry, as JSON.")] = '{"answer": "42"}',
    options: Annotated[str, typer.Option(help="`options:` of the reward part, as JSON.")] = "{}",
    deadline: Annotated[float, typer.Option(min=0.1, help="Most seconds for one call.")] = CALL_DEADLINE_S,
) -> None:
    """Call a reward plug-in with ordinary and hostile responses, and say which rules it breaks."""
    given = _mapping("--reference", reference), _mapping("--options", options)
    if plugin.count(":") != 1 or not all(plugin.split(":")):
        _refuse(f"{plugin!r} is not of the form MODULE:FUNCTION, such as my_rewards:brevity")
    errors = warnings = 0
    for finding in check_plugin(plugin, *given, deadline):
        typer.echo(f"{_MARKS[finding.level]}  {finding.rule}: {finding.detail}")
        errors += finding.level == "error"
        warnings += finding.level == "warning"
    typer.echo(
        f"{plugin}: {errors} errors, {warnings} warnings" if errors or warnings else f"{plugin}: keeps the contract"
    )
    raise typer.Exit(1 if errors else 0)


def _mapping(option: str, text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        _refuse(f"{option} {text!r} is not JSON ({error})")
    if not isinstance(value, dict):
        _refuse(f"{option} {text!r} is not a JSON object")
    return cast("dict[str, Any]", value)


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"error: {reason}", err=True)
    raise typer.Exit(2)
