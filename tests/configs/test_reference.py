"""The generated page is current, and every key of the schema is documented."""

import pytest

from configs.reference import PAGE, render
from configs.run import DistillRun, GrpoRun, RejectionRun, RewardModelRun, SftRun, StarRun, StepLabelsRun
from configs.schema import field_slots, tag_of
from configs.strict import Section

pytestmark = pytest.mark.unit


def sections(section: type[Section]) -> set[type[Section]]:
    inner = {s for slot in field_slots(section).values() for member in slot.sections for s in sections(member)}
    return {section} | inner


def test_the_page_is_current():
    assert PAGE.read_text() == render(), "run `python -m configs.reference`"


def test_every_key_has_a_docstring_and_a_row():
    page = render()
    runs = (GrpoRun, SftRun, StarRun, RewardModelRun, StepLabelsRun, RejectionRun, DistillRun)
    for section in set[type[Section]]().union(*map(sections, runs)):
        for name, info in section.model_fields.items():
            is_tag = (tag := tag_of(section)) is not None and tag[0] == name
            assert info.description or is_tag, f"{section.__name__}.{name} has no docstring"
            assert f"| `{name}` |" in page
