"""Landlock: which files may be opened, by inode; no TCP; no signals and abstract sockets beyond the process.

https://docs.kernel.org/userspace-api/landlock.html. It does not cover stat, chdir, chmod, chown, utime and xattr.
"""

import ctypes
import os
import stat
from collections.abc import Iterable

from sandbox.walls import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
READ = READ_FILE | READ_DIR
READ_EXECUTE = READ | EXECUTE
READ_WRITE = (1 << 16) - 1 - EXECUTE - _IOCTL_DEV
# ABI -> how many rights on files it knows: REFER came with 2, TRUNCATE with 3, IOCTL_DEV with 5.
_NUM_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The version this kernel has; 0 without Landlock."""
    try:
        return kernel.syscall("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def ruleset(allowed: Iterable[tuple[str, int]]) -> int:
    """A descriptor of rules that allow the named rights beneath the named paths and nothing anywhere else.

    Paths that do not exist are left out: what is not there cannot be opened. Raises OSError.
    """
    version = abi()
    if not version:
        raise OSError("landlock_create_ruleset: this kernel has no Landlock, or it is switched off (lsm=...,landlock)")
    handled = (1 << _NUM_RIGHTS[min(version, 5)]) - 1
    rules = _Ruleset(handled, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = kernel.syscall("landlock_create_ruleset", rules, size, 0)
    for path, rights in allowed:
        _allow(fd, path, rights & handled)
    return fd


def _allow(ruleset_fd: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(parent).st_mode)
        rule = _PathBeneath(rights if is_folder else rights & _FILE_RIGHTS, parent)
        kernel.syscall("landlock_add_rule", ruleset_fd, 1, rule, 0)
    finally:
        os.close(parent)


def restrict(ruleset_fd: int) -> None:
    """Confine this process for good. Needs no_new_privileges. Raises OSError."""
    kernel.syscall("landlock_restrict_self", ruleset_fd, 0)
