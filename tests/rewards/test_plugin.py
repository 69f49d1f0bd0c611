import sys
from types import ModuleType

import numpy as np
import pytest

from rewards.plugin import load_plugin
from rewards.sample import Sample, Score

pytestmark = pytest.mark.unit
SAMPLE = Sample("", "abcd", {})


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("my_rewards")
    monkeypatch.setitem(sys.modules, "my_rewards", module)
    return module


def test_a_float_a_numpy_number_a_bool_and_a_score_are_scores(plugins: ModuleType):
    for result, value in [(0.25, 0.25), (np.float32(0.5), 0.5), (True, 1.0), (1, 1.0), (Score(0.75, "why"), 0.75)]:
        vars(plugins)["reward"] = lambda sample, result=result: result
        assert load_plugin("my_rewards:reward")(SAMPLE).value == value


def test_options_arrive_as_keywords(plugins: ModuleType):
    vars(plugins)["brevity"] = lambda sample, limit: 1 - len(sample.response) / limit
    assert load_plugin("my_rewards:brevity", {"limit": 8})(SAMPLE).value == 0.5


@pytest.mark.parametrize("result", [None, "1", [1.0], np.array([1.0, 0.0]), (1.0,), {}])
def test_what_is_not_one_number_is_refused(plugins: ModuleType, result: object):
    vars(plugins)["reward"] = lambda sample: result
    with pytest.raises(ValueError, match="my_rewards:reward"):
        load_plugin("my_rewards:reward")(SAMPLE)


@pytest.mark.parametrize("result", [float("nan"), float("inf"), -0.1, 1.5])
def test_a_number_outside_zero_and_one_is_refused(plugins: ModuleType, result: float):
    vars(plugins)["reward"] = lambda sample: result
    with pytest.raises(ValueError, match=r"finite number in \[0, 1\]"):
        load_plugin("my_rewards:reward")(SAMPLE)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_rewards", "not of the form module:function"),
        (":reward", "not of the form module:function"),
        ("no_such_module_here:reward", "cannot import"),
        ("my_rewards:absent", "has no function 'absent'"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named(plugins: ModuleType, path: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_plugin(path)
