"""Code problems that name their `kind`, brought to the form that rewards/code.py reads.

| kind | a test | compare |
|---|---|---|
| `stdin` | `input` and `expected`, texts | `exact` (default), `lines`, `float_tokens` |
| `function` | `args` (or `input`), a list, and `expected` | `exact` (default), `float`, `unordered_nested` |
| `asserts` | a text of test code | none: the test code decides |

`entry_point` names the function, and `class_name` the class whose fresh object has it.
"""

from collections.abc import Mapping
from typing import Any, cast

_COMPARES: dict[str, dict[str, str]] = {
    "stdin": {"exact": "exact", "lines": "lines", "float_tokens": "float"},
    "function": {"exact": "exact", "float": "float_relative", "unordered_nested": "unordered_nested"},
    "asserts": {"exact": "exact"},
}
_KEPT = ("setup", "language", "checker", "time_limit_s")


def without_kind(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same problem without `kind`; a row without one is returned as it is. Raises ValueError with the field."""
    kind = row.get("kind")
    if kind is None:
        return row
    if kind not in _COMPARES:
        raise ValueError(f"`kind` is {kind!r}; it must be one of {', '.join(_COMPARES)}")
    compare = row.get("compare") or "exact"
    if compare not in _COMPARES[kind]:
        raise ValueError(f"`compare` is {compare!r}; for kind {kind} it must be one of {', '.join(_COMPARES[kind])}")
    problem = {name: row[name] for name in _KEPT if row.get(name) is not None}
    tests = cast("object", row.get("tests"))
    if kind == "asserts":
        return problem | {"tests": tests, "entry_point": row.get("entry_point")}
    listed = cast("list[object]", tests) if isinstance(tests, list) else []
    if not listed:
        raise ValueError(f"`tests` is missing or no list; kind {kind} needs a list of tests")
    rows = [_test(test, kind) for test in listed]
    if kind == "function":
        problem["entry_point"] = _entry_point(row)
    return problem | {"tests": rows, "compare": _COMPARES[kind][compare]}


def _test(test: object, kind: str) -> dict[str, Any]:
    told, fields = repr(test)[:80], cast("dict[str, Any]", test) if isinstance(test, dict) else {}
    given = "args" if kind == "function" and "args" in fields else "input"
    if given not in fields or "expected" not in fields:
        raise ValueError(f"a test is {told}; it needs `{given}` and `expected`")
    if kind == "stdin":
        return {"stdin": fields[given], "stdout": fields["expected"]}
    return {"args": fields[given], "expected": fields["expected"], "kwargs": fields.get("kwargs") or {}}


def _entry_point(row: Mapping[str, Any]) -> str:
    name, owner = row.get("entry_point"), row.get("class_name")
    if not isinstance(name, str) or not (owner is None or isinstance(owner, str)):
        raise ValueError(f"`entry_point` is {name!r} and `class_name` {owner!r}; they must be names")
    return f"{owner}.{name}" if owner else name
