"""Rewards of your own: `module:function`, called with a Sample, returning a float or a Score in [0, 1].

Loading errors are ValueErrors that name the plug-in; a wrong return value is a ValueError at the call.
"""

import importlib
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from rewards.sample import Reward, Sample, Score


def load_plugin(path: str, options: Mapping[str, Any] | None = None) -> Reward:
    """The reward at `module:function`; `options` are passed as keyword arguments. Raises ValueError."""
    module_name, colon, function_name = path.partition(":")
    if not (colon and module_name and function_name):
        raise ValueError(f"reward plug-in {path!r} is not of the form module:function, such as my_rewards:brevity")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"reward plug-in {path!r}: cannot import {module_name!r} ({error}); put it on PYTHONPATH"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"reward plug-in {path!r}: {module_name!r} has no function {function_name!r}")
    return _checked(path, function, dict(options or {}))


def _checked(path: str, function: Callable[..., object], options: dict[str, Any]) -> Reward:
    def reward(sample: Sample) -> Score:
        result = function(sample, **options)
        if isinstance(result, Score):
            return result
        # bool is a number to Python; as a score it is meant (right or wrong).
        if isinstance(result, Real):
            return Score(float(result))
        raise ValueError(
            f"reward plug-in {path!r} returned {type(result).__name__} for one sample; return one float or a Score"
        )

    return reward
