"""A rule that cannot fail is no rule: each catches a snippet that breaks it and passes one that does not."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.architecture import rules
from tests.conftest import pytest_collection_modifyitems

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainers/grpo.py", "from actors.fleet import Fleet"),
        ("actors/fleet.py", "import trainers"),
        ("configs/run.py", "def f():\n    from data import records"),
        ("data/records.py", "import tests.conftest"),
        ("trainers/grpo.py", "import ray"),
        ("actors/fleet.py", "def f():\n    import vllm.config"),
        ("actors/fleet.py", "import deepspeed"),
        ("actors/tracker.py", "from mlflow.entities import Metric"),
        ("data/rows.py", "from torch import Tensor"),
        ("sandbox/walls.py", "import numpy"),
        ("trainers/grpo.py", "from ..actors import fleet"),
    ],
)
def test_a_forbidden_import_is_caught(path: str, source: str):
    assert len(rules.forbidden_imports(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("trainers/grpo.py", "from trainers.ports import Learner\nfrom data.records import Batch"),
        ("cli/train.py", "import ray\nfrom trainers import grpo\nfrom actors import fleet"),
        ("data/packing.py", "import torch"),
        ("sandbox/walls.py", "import os\nfrom configs.strict import Section"),
        ("trainers/grpo.py", "import rayon"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str):
    assert rules.forbidden_imports(path, source) == []


def test_trainers_and_actors_never_reach_each_other():
    def reach(room: str, seen: set[str]) -> set[str]:
        return seen | {room}.union(*(reach(other, seen | {room}) for other in rules.ROOMS[room] - seen))

    assert "actors" not in reach("trainers", set())
    assert "trainers" not in reach("actors", set())


def test_a_cycle_of_modules_is_caught():
    sources = {"data/a.py": "from data import b", "data/b.py": "from data.c import f", "data/c.py": "import data.a"}
    assert rules.import_cycles(sources) == ["data.a -> data.b -> data.c -> data.a"]
    assert rules.import_cycles(sources | {"data/c.py": "import os"}) == []


def test_long_files_and_functions_are_caught():
    body = "    x = 1\n" * 60
    assert rules.too_long("data/a.py", f"def f():\n{body}") == ["data/a.py:1 f has 61 lines, at most 60"]
    assert rules.too_long("data/a.py", f"def f():\n{body[:-10]}") == []
    assert len(rules.too_long("data/a.py", "x = 1\n" * 401)) == 1
    assert rules.too_long("data/a.py", "x = 1\n" * 400) == []


@pytest.mark.parametrize("path", ["utils/text.py", "data/helpers.py", "actors/base/a.py", "av.py", "queue/a.py"])
def test_a_bad_name_is_caught(path: str):
    assert len(rules.bad_names([path])) == 1


def test_a_name_that_shadows_nothing_at_the_top_passes():
    assert rules.bad_names(["cli/evaluate.py", "rewards/math.py", "configs/"]) == []


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip\ndef test_a(): ...",
        "@pytest.mark.skip()\ndef test_a(): ...",
        "@pytest.mark.skipif(True)\ndef test_a(): ...",
        "@pytest.mark.xfail(strict=True)\ndef test_a(): ...",
        "pytest.skip('')",
        "pytestmark = [pytest.mark.skipif(True, reason='')]",
    ],
)
def test_a_skip_without_a_reason_is_caught(source: str):
    assert len(rules.unexplained_skips("tests/test_a.py", source)) == 1


def test_a_skip_with_a_reason_passes():
    source = "pytest.skip('needs a GPU')\n@pytest.mark.skipif(True, reason='needs kubectl')\ndef test_a(): ..."
    assert rules.unexplained_skips("tests/test_a.py", source) == []


def test_the_map_is_read_from_its_own_code_block():
    readme = "# x\n```\nother\n```\n\n## Map\ntext\n```\nconfigs/   schema\nMakefile   commands\n```\n```\nlater\n```\n"
    assert rules.map_entries(readme) == {"configs/", "Makefile"}


def test_a_test_without_a_tier_stops_the_run():
    def item(nodeid: str, *markers: str) -> Any:
        def iter_markers() -> Iterator[SimpleNamespace]:
            return (SimpleNamespace(name=marker) for marker in markers)

        return SimpleNamespace(nodeid=nodeid, iter_markers=iter_markers)

    pytest_collection_modifyitems([item("tests/a.py::test_a", "parametrize", "unit")])
    with pytest.raises(pytest.UsageError, match=r"1 tests .* first tests/b.py::test_b"):
        pytest_collection_modifyitems([item("tests/a.py::test_a", "gpu"), item("tests/b.py::test_b", "parametrize")])
