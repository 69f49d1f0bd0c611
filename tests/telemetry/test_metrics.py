"""The table of metrics: legal names, a current page, and every name that the code reports in it."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from telemetry.metrics import DOCS, METRICS, UnknownMetric, check_name, legal_name, reference_page

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
EXAMPLES = [re.sub("<name>", "exact_number", re.sub("<[ki]>", "4", metric.name)) for metric in METRICS]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_name_of_the_table_is_known_and_legal_for_mlflow_as_it_stands(name: str) -> None:
    _validate_metric_name(name)
    assert check_name(name) == legal_name(name) == name


def test_names_are_listed_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownMetric, match=r"'train/los' is not in the table.*'train/loss'"):
        check_name("train/los")
    with pytest.raises(UnknownMetric):
        check_name("reward/part_")


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(max_codepoint=0x17F), max_size=300))
def test_any_name_at_all_becomes_one_that_mlflow_takes(name: str) -> None:
    _validate_metric_name(legal_name(name))


def test_illegal_characters_are_mended_and_the_rest_stays() -> None:
    assert legal_name("timing(s)/gen@1") == "timing_s_/gen_1"
    assert legal_name("/../a//b/") == "__/a/b"


def test_the_page_in_docs_is_current() -> None:
    assert DOCS.read_text() == reference_page(), "run `python -m telemetry.metrics`"


def test_every_metric_that_the_code_names_is_in_the_table() -> None:
    rooms = sorted({metric.name.split("/")[0] for metric in METRICS})
    literal = re.compile(rf'"((?:{"|".join(rooms)})/[a-z0-9_]*[a-z0-9])"')
    files = [path for room in ("trainers", "actors", "algorithms", "telemetry") for path in (ROOT / room).glob("*.py")]
    named = {name for path in files for name in literal.findall(path.read_text())}
    assert "reward/mean" in named
    for name in named:
        check_name(name)
