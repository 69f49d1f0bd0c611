"""The rules of the house as pure functions: source text in, violations out, so that each can be shown to fail.

The tables at the top are the law of docs/architecture.md; change both together.
"""

import ast
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import PurePosixPath

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# Room -> rooms it may import besides itself.
ROOMS: dict[str, set[str]] = {
    "configs": set(),
    "data": {"configs"},
    "algorithms": {"configs", "data"},
    "sandbox": {"configs"},
    "rewards": {"configs", "data", "sandbox"},
    "search": {"configs", "data", "algorithms"},
    "trainers": {"configs", "data", "algorithms", "search", "telemetry"},
    "actors": {"configs", "data", "algorithms", "rewards", "sandbox", "telemetry"},
    "telemetry": {"configs"},
}
ROOMS["cli"] = set(ROOMS)
FIRST_PARTY = {*ROOMS, "tests", "benchmarks"}

# Heavy dependency -> the rooms ("actors/") and files that may import it, even lazily.
HEAVY: dict[str, tuple[str, ...]] = {
    "ray": ("actors/", "cli/"),
    "torch": ("algorithms/", "actors/", "data/packing.py"),
    "vllm": ("actors/rollout_worker.py", "actors/weight_transfer.py", "actors/engine_plugin.py"),
    "deepspeed": (
        "actors/learner_worker.py",
        "actors/weight_transfer.py",
        "actors/reference_model.py",
        "actors/deepspeed_ops.py",
    ),
    "mlflow": ("telemetry/",),
}

VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base", "manager"}
# Dependencies import these by bare name; a folder or file of that name at the top would be found first.
SHADOWING_NAMES = {"av", "datasets", "evaluate", "types", "queue", "code", "platform"}


def module_name(path: str) -> str:
    """`data/records.py` -> `data.records`; `data/__init__.py` -> `data`."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def syntax_tree(source: str) -> ast.Module:
    """Parsed once, however many rules look at it."""
    return ast.parse(source)


@cache
def imports(path: str, source: str) -> list[tuple[int, str]]:
    """(line, dotted name) of everything imported anywhere in the file; `from a import b` gives `a.b`."""
    package = PurePosixPath(path).parent.parts
    found: list[tuple[int, str]] = []
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            anchor = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*anchor, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
    return found


def forbidden_imports(path: str, source: str) -> list[str]:
    """Imports that break the tables, for a file inside a room."""
    room = PurePosixPath(path).parts[0]
    allowed = ROOMS[room] | {room}
    violations: list[str] = []
    for line, name in imports(path, source):
        top = name.split(".")[0]
        if top in FIRST_PARTY and top not in allowed:
            violations.append(f"{path}:{line} {room} may not import {top}")
        if top in HEAVY and not path.startswith(HEAVY[top]):
            violations.append(f"{path}:{line} {top} may be imported only in {', '.join(HEAVY[top])}")
        if room == "sandbox" and top not in FIRST_PARTY and top not in sys.stdlib_module_names:
            violations.append(f"{path}:{line} sandbox is standard library only, not {top}")
    return violations


def import_cycles(sources: Mapping[str, str]) -> list[str]:
    """Cycles between modules, one line each, such as `a.x -> a.y -> a.x`. Keys are paths."""
    modules = {module_name(path) for path in sources}
    edges = {
        module_name(path): sorted({m for _, name in imports(path, source) if (m := _owner(name, modules))})
        for path, source in sources.items()
    }
    cycles: list[str] = []
    finished: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            cycles.append(" -> ".join([*trail[trail.index(module) :], module]))
        elif module not in finished:
            for target in edges[module]:
                visit(target, [*trail, module])
            finished.add(module)

    for module in sorted(edges):
        visit(module, [])
    return cycles


def _owner(name: str, modules: set[str]) -> str | None:
    """The module that an imported name lives in: `data.records.Batch` -> `data.records`."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def too_long(path: str, source: str) -> list[str]:
    """Files above 400 lines and functions above 60."""
    violations: list[str] = []
    lines = source.count("\n") + (not source.endswith("\n") and bool(source))
    if lines > MAX_FILE_LINES:
        violations.append(f"{path} has {lines} lines, at most {MAX_FILE_LINES}: split it by idea")
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                violations.append(f"{path}:{node.lineno} {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}")
    return violations


def bad_names(paths: Iterable[str]) -> list[str]:
    """Vague words anywhere in a path; names that shadow a dependency at the top."""
    violations: list[str] = []
    for path in paths:
        stems = [PurePosixPath(part).stem for part in PurePosixPath(path).parts]
        violations += [f"{path}: `{stem}` says nothing, name the idea" for stem in stems if stem in VAGUE_NAMES]
        if stems[0] in SHADOWING_NAMES:
            violations.append(f"{path}: `{stems[0]}` at the top shadows a module that a dependency imports")
    return violations


def unexplained_skips(path: str, source: str) -> list[str]:
    """Skips and expected failures without a reason that a reader can act on."""
    tree = syntax_tree(source)
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    violations: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        name = ast.unparse(node)
        is_mark = name in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
        if (is_mark or name in {"pytest.skip", "pytest.xfail"}) and not _has_reason(calls.get(id(node)), name):
            violations.append(f"{path}:{node.lineno} {name} without a reason")
    return violations


def _has_reason(call: ast.Call | None, name: str) -> bool:
    if call is None:
        return False
    positional = call.args if name in {"pytest.skip", "pytest.xfail", "pytest.mark.skip"} else []
    reasons = [*positional, *(keyword.value for keyword in call.keywords if keyword.arg in {"reason", "msg"})]
    return any(not (isinstance(reason, ast.Constant) and not reason.value) for reason in reasons)


def map_entries(readme: str) -> set[str]:
    """Names in the first code block under the README's heading `## Map`, one per line, folders with a slash."""
    block = readme.partition("\n## Map\n")[2].partition("```\n")[2].partition("\n```")[0]
    return {line.split()[0] for line in block.splitlines() if line.strip()}
