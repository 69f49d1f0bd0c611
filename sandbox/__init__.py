"""Isolated execution of untrusted programs: `async with Sandbox() as box: result = await box.run(task)`.

Reading order: tasks.py and results.py (what goes in and out), box.py, worker.py (one zygote as the service sees it),
inside/zygote.py and inside/child.py (the other side), walls/ (one file for each wall). Prose: docs/sandbox.md.
"""

from sandbox.box import Sandbox
from sandbox.limits import SandboxLimits
from sandbox.results import Difference, Isolation, Outcome, RunResult, SandboxUnavailable, TaskError, TestResult
from sandbox.tasks import AssertTask, Checker, FunctionCall, FunctionTask, Language, StdioTask, SyntaxTask, Task

__all__ = [
    "AssertTask",
    "Checker",
    "Difference",
    "FunctionCall",
    "FunctionTask",
    "Isolation",
    "Language",
    "Outcome",
    "RunResult",
    "Sandbox",
    "SandboxLimits",
    "SandboxUnavailable",
    "StdioTask",
    "SyntaxTask",
    "Task",
    "TaskError",
    "TestResult",
]
