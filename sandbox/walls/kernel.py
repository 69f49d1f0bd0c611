"""System calls by number and by libc, for what Python 3.11 has no function for. Errors name the call that failed."""

import ctypes
import os

from sandbox.walls import syscall_numbers

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None, use_errno=True).fork  # keeps the interpreter's lock, which is then the child's

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x1000_0000, 0x2000_0000, 0x4000_0000

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 8, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


def syscall(name: str, *arguments: int | bytes | ctypes.Structure | None) -> int:
    """One system call by name; structures go by reference. Raises OSError that starts with the call's name."""
    passed: list[object] = []
    for argument in arguments:
        if isinstance(argument, ctypes.Structure):
            passed.append(ctypes.byref(argument))
        elif isinstance(argument, int):
            passed.append(ctypes.c_long(argument))
        else:
            passed.append(argument)
    result: int = _syscall(ctypes.c_long(syscall_numbers.here()[name]), *passed)
    if result < 0:
        raise_errno(name)
    return result


def raise_errno(what: str) -> None:
    """Raise what errno says, with what was tried in front."""
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def fork() -> int:
    """fork(2) without the handlers that `os.fork` runs in the child. Only for a process of one thread. Raises OSError.

    They renew locks that another thread may have held, and each page that they write is one more to copy. What they
    also do, new random numbers for the child, is the caller's to do.
    """
    pid: int = _fork()
    if pid < 0:
        raise_errno("fork")
    return pid


def prctl(option: int, *values: int) -> int:
    """prctl(2). Raises OSError."""
    return syscall("prctl", option, *values, *([0] * (4 - len(values))))


def unshare(flags: int) -> None:
    """Leave the named namespaces for new ones. Raises OSError."""
    syscall("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind `fd`. Raises OSError."""
    syscall("setns", fd, kind)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    try:
        syscall(
            "mount", source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode() or None
        )
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (on {target})") from None


def umount(target: str) -> None:
    """Take a mount away, at once for the tree and as soon as nobody uses it for the kernel. Raises OSError."""
    syscall("umount2", target.encode(), MNT_DETACH)
