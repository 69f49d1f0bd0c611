"""Where a compiler writes in the `portable` tier, which has no scratch of its own: one folder for each worker.

The child's Landlock rules let it write nowhere else, and nothing in the folder can be executed. The file limit bounds
each file, and a compiler that runs as it is meant to makes a handful.
"""

import os
import shutil
import tempfile

_PREFIX = "rayzero-compile-"


class CompileFolder:
    """Empty before each run. Raises OSError where there is no folder for temporary files."""

    def __init__(self) -> None:
        _sweep(tempfile.gettempdir())
        self.path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")

    def empty(self) -> None:
        """Remove all that a run has written. Links are removed and never followed."""
        for entry in os.scandir(self.path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)

    def remove(self) -> None:
        """At the end of the worker."""
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(place: str) -> None:
    """Remove the folders of this user's workers that were killed."""
    for entry in os.scandir(place):
        owner = entry.name.removeprefix(_PREFIX).partition("-")[0]
        if (
            entry.name.startswith(_PREFIX)
            and entry.is_dir(follow_symlinks=False)
            and not os.path.exists(f"/proc/{owner}")
        ):
            shutil.rmtree(entry.path, ignore_errors=True)
