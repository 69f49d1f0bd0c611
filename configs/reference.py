"""Writes docs/config.md from the schema: `python -m configs.reference`. One table per section, and the rules.

The text of the page is the docstrings of the schema and of the rules; a test shows that the page is current.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from configs.pipeline import PipelineRun
from configs.pipeline_rules import PIPELINE_RULES
from configs.rules import RULES
from configs.run import DistillRun, GrpoRun, RejectionRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from configs.schema import describe, field_slots, tag_of
from configs.strict import Section

PAGE = Path(__file__).parents[1] / "docs" / "config.md"

INTRO = """# Config reference

Generated from the schema by `python -m configs.reference`; edit the docstrings in `configs/` instead.

A config is one YAML file. `method` picks the kind of run, [`grpo`](#grporun), [`sft`](#sftrun),
[`star`](#starrun), [`distill`](#distillrun), [`reward_model`](#rewardmodelrun), [`step_labels`](#steplabelsrun) or
[`rejection`](#rejectionrun), or a [`pipeline`](#pipelinerun) of several. A section that comes in several kinds is told
apart by its `type`. Keys without a default must be given. Any key can be set on the command line after the file, the
value in YAML: `rollout.group_size=16`, `cold_start.0.steps=5`, `"optimizer={type: adamw, learning_rate: 1e-6}"`.
Relative paths are relative to the working directory. Unknown keys, wrong types and broken rules are all listed in one
error; `--dry-run` prints the resolved config and what follows from it without starting anything.
"""


def render() -> str:
    """The page, as Markdown."""
    sections: dict[str, type[Section]] = {}
    for run in (GrpoRun, SftRun, StarRun, RewardModelRun, StepLabelsRun, RejectionRun, DistillRun, PipelineRun):
        for section in _sections(run):
            sections.setdefault(section.__name__, section)
    tables = [line for section in sections.values() for line in _table(section)]
    rules = [f"- {_one_line(inspect.getdoc(rule))}" for rule in (*RULES, *PIPELINE_RULES)]
    head = [
        "## Rules across fields",
        "",
        "Checked after the types, before anything starts.",
        "",
    ]
    return "\n".join([INTRO, *tables, *head, *rules, ""])


def _sections(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for slot in field_slots(section).values():
        for inner in _inner_sections(slot.members):
            yield from _sections(inner)


def _inner_sections(members: tuple[Any, ...]) -> Iterator[type[Section]]:
    for member in members:
        if isinstance(member, type) and issubclass(member, Section):
            yield member
        else:
            yield from _inner_sections(get_args(member))


def _table(section: type[Section]) -> Iterator[str]:
    tag = tag_of(section)
    yield f"## {section.__name__}"
    yield ""
    yield (f"`{tag[0]}: {tag[1]}`. " if tag else "") + _one_line(inspect.getdoc(section))
    yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, slot in field_slots(section).items():
        info = section.model_fields[name]
        links = ", ".join(f"[{s.__name__}](#{s.__name__.lower()})" for s in _inner_sections(slot.members))
        kind = describe(slot) + (f": {links}" if links else "")
        required = info.is_required() or (tag is not None and name == tag[0])
        default = "required" if required else f"`{_plain(info.get_default(call_default_factory=True))}`"
        yield f"| `{name}` | {_cell(kind)} | {_cell(default)} | {_cell(_meaning(info.description))} |"
    yield ""


def _plain(value: Any) -> str:
    """A default as it is written in YAML; of a section, only what departs from its own defaults."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _meaning(text: str | None) -> str:
    return _one_line(text).replace("None", "null")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
