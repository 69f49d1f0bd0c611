"""No privileges: an unprivileged user, no capabilities, and no way to gain either by running another program."""

import ctypes
import os

from sandbox.walls import kernel

_LAST_CAPABILITY = 63  # the kernel refuses numbers it does not have; the loop stops there
_VERSION_3 = 0x2008_0522
# NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each locked: uid 0 means nothing, whatever is executed.
_LOCKED_SECUREBITS = 0b1100_1111


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint32 * 3), ("high", ctypes.c_uint32 * 3))  # effective, permitted, inheritable


_HEADER, _NO_CAPABILITIES = _Header(_VERSION_3, 0), _Sets()


def no_new_privileges() -> None:
    """Set-user-id bits and file capabilities do nothing from now on, for this process and all it starts."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def close_bounding_set() -> None:
    """Nothing that is executed later can have a capability. Needs CAP_SETPCAP; keeps those held now."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError:
            if capability <= 40:  # CAP_CHECKPOINT_RESTORE, the last of Linux 5.9
                raise
            break
    kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
    kernel.prctl(kernel.PR_SET_SECUREBITS, _LOCKED_SECUREBITS)


def drop_capabilities() -> None:
    """Give up every capability, for good once no_new_privileges holds."""
    kernel.syscall("capset", _HEADER, _NO_CAPABILITIES)


def become(uid: int, keep_capabilities: bool) -> None:
    """Change to `uid` and the group of the same number, with no other groups. Raises OSError."""
    if keep_capabilities:
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    kernel.syscall("setgroups", 0, None)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if keep_capabilities:  # the effective set is cleared by the change; the permitted one was kept
        held = _Sets()
        kernel.syscall("capget", _HEADER, held)
        # Pairs of 32 bits: (effective, permitted, inheritable) of the low half, then of the high half.
        held.low[0], held.high[0] = held.low[1], held.high[1]
        kernel.syscall("capset", _HEADER, held)
