"""The config's section and the sandbox agree on every default, so that neither says something the other does not do."""

import pytest
from pydantic import ValidationError

from configs.sandbox import Sandbox as Section
from sandbox import SandboxLimits, StdioTask, SyntaxTask, TaskError
from sandbox.configured import configured
from sandbox.limits import MIB

pytestmark = pytest.mark.unit


def test_defaults_are_the_same_on_both_sides() -> None:
    assert configured(Section()).limits == SandboxLimits()


def test_every_field_arrives() -> None:
    section = Section(
        isolation="portable", workers=3, cpu_s=1.5, wall_s=2.5, memory_mib=64, output_mib=1, scratch_mib=0
    )
    box = configured(section)
    assert box.workers == 3
    assert box.limits == SandboxLimits(cpu_s=1.5, wall_s=2.5, memory_bytes=64 * MIB, output_bytes=MIB, scratch_bytes=0)


@pytest.mark.parametrize(
    "wrong", [{"isolation": "none"}, {"isolation": "unsafe-none"}, {"cpu_s": 0}, {"memory_mib": 8}, {"walls": False}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Section.model_validate(wrong)


@pytest.mark.parametrize("language", ["c", "cpp", "javascript"])
async def test_languages_that_the_walls_do_not_hold_are_refused_by_name(language: str) -> None:
    for task in (StdioTask(language, "", [("", "")]), SyntaxTask(language, "")):  # type: ignore[arg-type]
        with pytest.raises(TaskError, match=f"language is '{language}'"):
            await configured(Section()).run(task)
