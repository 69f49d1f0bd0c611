"""Where a compiler writes in the `portable` tier, which has no scratch of its own: one folder for each worker.

The child's Landlock rules let it write nowhere else, and nothing in the folder can be executed. The file limit bounds
each file, and a compiler that runs as it is meant to makes a handful. Only `os`: the zygote must stay small.
"""

import os

_PLACE, _PREFIX = "/tmp", "rayzero-compile-"


class CompileFolder:
    """Empty before each run. Raises OSError where `/tmp` cannot be written."""

    def __init__(self) -> None:
        for entry in os.scandir(_PLACE):
            owner = entry.name.removeprefix(_PREFIX).partition("-")[0]
            is_one = entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False)
            is_ours = is_one and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            if is_ours and not os.path.exists(f"/proc/{owner}"):
                _empty(entry.path)  # of a worker that was killed
                os.rmdir(entry.path)
        self.path = f"{_PLACE}/{_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        os.mkdir(self.path, 0o700)

    def empty(self) -> None:
        """Remove all that a run has written. Links are removed and never followed."""
        _empty(self.path)

    def remove(self) -> None:
        """At the end of the worker."""
        _empty(self.path)
        os.rmdir(self.path)


def _empty(place: str) -> None:
    for folder, folders, files in os.walk(place, topdown=False):
        for name in files:
            os.unlink(f"{folder}/{name}")
        for name in folders:
            path = f"{folder}/{name}"
            if os.path.islink(path):
                os.unlink(path)
            else:
                os.rmdir(path)
