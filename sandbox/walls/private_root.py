"""A root file system of its own: read-only libraries at their usual paths, four devices, an empty /proc, one scratch.

Nothing of the host is in it that was not named: no /etc, no /home, no /sys, no other process's files.
"""

import ctypes
import os
from collections.abc import Sequence

from sandbox.walls import kernel

SCRATCH = "/tmp"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_MAX_SCRATCH_FILES = 256
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def enter(readable: Sequence[str], masked: Sequence[str]) -> None:
    """Pivot into the new root. Needs CAP_SYS_ADMIN over an own mount namespace, and the host's /proc.

    `readable` are files and folders of the host that appear read-only at the same path; `masked` are folders within
    them that appear empty. Raises OSError that names the path the kernel refused.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    shown = [*dict.fromkeys(os.path.realpath(path) for path in readable if os.path.exists(path)), *_DEVICES]
    links = _links_on_the_way(readable)
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in shown}  # the next mount may hide their paths
    root = SCRATCH
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,nr_inodes=512,mode=755")
    for path, handle in handles.items():
        if not os.path.exists(root + path):
            _make_place(root + path, os.path.isdir(f"/proc/self/fd/{handle}"))
        kernel.mount(f"/proc/self/fd/{handle}", root + path, None, kernel.MS_BIND | kernel.MS_REC)
        _make_read_only(root + path)
        os.close(handle)
    for path, target in links.items():
        if not os.path.lexists(root + path):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            os.symlink(target, root + path)
    for path in masked:
        if os.path.isdir(root + path):
            kernel.mount("tmpfs", root + path, "tmpfs", kernel.MS_RDONLY, "size=4k,nr_inodes=2,mode=755")
    os.makedirs(f"{root}/proc", exist_ok=True)
    os.makedirs(f"{root}{SCRATCH}", exist_ok=True)
    os.chdir(root)
    kernel.syscall("pivot_root", b".", b".")
    kernel.umount(".")  # the old root lies on top of the new one at the same place
    os.chdir("/")
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("none", "/", None, flags)


def _links_on_the_way(paths: Sequence[str]) -> dict[str, str]:
    """Symbolic links that lead to `paths`, such as /lib -> usr/lib, to be made anew: the loader looks below /lib."""
    links: dict[str, str] = {}
    for path in paths:
        while (prefix := _first_link(path)) is not None:
            links[prefix] = os.path.realpath(prefix)
            path = links[prefix] + path.removeprefix(prefix)
    return links


def _first_link(path: str) -> str | None:
    parts = path.strip("/").split("/")
    prefixes = ("/" + "/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return next((prefix for prefix in prefixes if os.path.islink(prefix)), None)


def _make_place(path: str, is_folder: bool) -> None:
    """Something to mount on."""
    os.makedirs(path if is_folder else os.path.dirname(path), exist_ok=True)
    if not is_folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))


def _make_read_only(path: str) -> None:
    attributes = _MountAttributes(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
    try:
        kernel.syscall("mount_setattr", _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    except OSError:  # before Linux 5.12: by remounting, which must repeat the flags that the host has set
        flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID
        kernel.mount("none", path, None, flags | os.statvfs(path).f_flag & ~os.ST_RDONLY)


class Scratch:
    """The only place where a run can write: a small tmpfs, thrown away as soon as a run has touched it."""

    def __init__(self, size_bytes: int, uid: int) -> None:
        self._options = f"size={max(size_bytes, 4096)},nr_inodes={_MAX_SCRATCH_FILES},mode=700,uid={uid},gid={uid}"
        if size_bytes == 0:
            self._options = f"size=4k,nr_inodes=1,mode=500,uid={uid},gid={uid}"  # the root itself is the one inode
        self._mount()

    def _mount(self) -> None:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("tmpfs", SCRATCH, "tmpfs", flags, self._options)
        self._fresh = self._state()

    def _state(self) -> tuple[int, ...]:
        space, folder = os.statvfs(SCRATCH), os.stat(SCRATCH)
        return (space.f_ffree, space.f_bfree, folder.st_mtime_ns, folder.st_ctime_ns, folder.st_mode)

    def renew(self) -> bool:
        """A fresh one unless this one is untouched: any file, ever, changes the folder's time. True if renewed."""
        if self._state() == self._fresh:
            return False
        kernel.umount(SCRATCH)
        self._mount()
        return True
