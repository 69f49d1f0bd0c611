"""Landlock and file walls on this very process's children: what the kernel really refuses."""

import os
from pathlib import Path

import pytest

from sandbox.walls import landlock, privileges, resources

pytestmark = pytest.mark.unit


def in_child(test: "object") -> int:
    """The exit status of a function that runs in a forked child; 100 when it raised."""
    pid = os.fork()
    if pid == 0:
        status = 100
        try:
            status = test()  # type: ignore[operator]
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def opens(path: Path, flags: int = os.O_RDONLY) -> bool:
    try:
        os.close(os.open(path, flags))
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
def test_only_what_is_named_can_be_opened(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")

    def confined() -> int:
        rules = landlock.ruleset([(str(tmp_path / "open"), landlock.READ), (str(tmp_path / "missing"), landlock.READ)])
        privileges.no_new_privileges()
        landlock.restrict(rules)
        return (
            opens(tmp_path / "open" / "file") * 1
            + opens(tmp_path / "closed" / "file") * 2
            + opens(tmp_path / "open" / "file", os.O_RDWR) * 4
            + opens(Path("/etc/passwd")) * 8
        )

    assert in_child(confined) == 1


def test_descriptors_are_put_in_order_and_all_others_closed(tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / name).write_text(name)

    def placed() -> int:
        opened = [os.open(tmp_path / name, os.O_RDONLY) for name in "abcdef"]
        low = opened[0]
        order = [opened[3], low, opened[5], opened[1]]
        os.dup2(order[2], 1)  # one that must move although its number is already taken by another's place
        order[2] = 1
        resources.place_descriptors(order)
        seen = b"".join(os.read(number, 1) for number in range(4))
        try:
            os.fstat(4)
        except OSError:
            return 0 if seen == b"dafb" else 1
        return 2

    assert in_child(placed) == 0
