"""The tree keeps the rules of the house. That each rule can fail is shown in test_rules_can_fail.py."""

import sys
import sysconfig
import tomllib
from importlib.machinery import PathFinder

import pytest
import yaml

from tests.architecture import rules
from tests.architecture.tree import ROOT, python_files, top_level

pytestmark = pytest.mark.unit

ROOM_FILES = python_files(*rules.ROOMS)
ALL_FILES = ROOM_FILES | python_files("tests", "benchmarks")


def test_rooms_import_only_what_they_may():
    assert [v for path, source in ROOM_FILES.items() for v in rules.forbidden_imports(path, source)] == []


def test_every_room_has_code_and_every_allowed_importer_exists():
    assert {path.split("/")[0] for path in ROOM_FILES} == set(rules.ROOMS)
    named = {place for places in rules.HEAVY.values() for place in places}
    assert [place for place in sorted(named) if not (ROOT / place).exists()] == []


def test_modules_do_not_import_each_other_in_a_circle():
    assert rules.import_cycles(ALL_FILES) == []


def test_files_and_functions_stay_short():
    assert [v for path, source in ALL_FILES.items() for v in rules.too_long(path, source)] == []


def test_names_say_something_and_shadow_nothing():
    assert rules.bad_names([*ALL_FILES, *sorted(top_level())]) == []


def test_import_packages_shadow_no_library():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    libraries = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    assert [name for name in packages if PathFinder.find_spec(name, libraries)] == []
    assert set(packages) & set(sys.stdlib_module_names) == set()
    assert set(packages) == set(rules.ROOMS)


def test_no_test_is_skipped_without_a_reason():
    tests = {path: source for path, source in ALL_FILES.items() if path.startswith("tests/")}
    assert [v for path, source in tests.items() for v in rules.unexplained_skips(path, source)] == []


@pytest.mark.parametrize("folder", ["configs", "k8s"])
def test_every_yaml_file_parses(folder: str):
    files = sorted([*(ROOT / folder).rglob("*.yaml"), *(ROOT / folder).rglob("*.yml")])
    assert files, f"no YAML in {folder}/"
    for file in files:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        assert documents, f"{file} is empty"
        assert all(isinstance(document, dict | list) for document in documents), file


def test_the_map_in_the_readme_is_the_real_tree():
    assert rules.map_entries((ROOT / "README.md").read_text(encoding="utf-8")) == top_level()
