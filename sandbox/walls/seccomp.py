"""seccomp-bpf: an allow-list of system calls, compiled here into a search tree and loaded without libseccomp.

What is not on a list fails with EPERM, as for a user without rights. What only an attack would call kills the process
(SIGSYS), and so do calls of another architecture. Numbers newer than the table fail with ENOSYS, as on an older kernel.
"""

import ctypes
import errno
import platform
import struct

from sandbox.walls import kernel, syscall_lists, syscall_numbers

_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
_LD, _JEQ, _JGE, _JSET, _RET, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54  # 32-bit loads, jumps on a constant
_ARCH_OFFSET, _ARGUMENTS_OFFSET = 4, 16
_SECCOMP_SET_MODE_FILTER = 1
PROGRAM_FD = 3  # where a child has its program

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
Leaf = tuple[Instruction, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _answer(value: int) -> Leaf:
    return ((_RET, 0, 0, value),)


DENY = _answer(_ERRNO | errno.EPERM)
MISSING = _answer(_ERRNO | errno.ENOSYS)
PRETEND = _answer(_ERRNO)  # returns 0 without doing anything
ALLOWED = _answer(_ALLOW)
KILLED = _answer(_KILL)


def _load(argument: int, high: bool = False) -> Instruction:
    return (_LD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument + (4 if high else 0))


def _one_of(argument: int, values: tuple[int, ...], otherwise: Leaf = DENY, mask: int | None = None) -> Leaf:
    """Allow when the low half of the argument is one of the values."""
    masked: Leaf = ((_AND, 0, 0, mask),) if mask is not None else ()
    tests = tuple((_JEQ, len(values) - 1 - i + len(otherwise), 0, value) for i, value in enumerate(values))
    return (_load(argument), *masked, *tests, *otherwise, *ALLOWED)


def _null(argument: int, otherwise: Leaf = DENY) -> Leaf:
    """Allow when a 64-bit argument, a pointer, is null."""
    n = len(otherwise)
    return (_load(argument), (_JEQ, 0, 2, 0), _load(argument, high=True), (_JEQ, n, 0, 0), *otherwise, *ALLOWED)


def _thread_only() -> Leaf:
    """clone: a new thread of this process, and no namespace with it."""
    thread, namespaces = 0x0001_0000, 0x7E02_0000
    return (_load(0), (_JSET, 1, 0, namespaces), (_JSET, 1, 0, thread), *DENY, *ALLOWED)


def _same_namespaces() -> Leaf:
    """clone: threads and processes, but no namespace with them."""
    return (_load(0), (_JSET, 0, 1, 0x7E02_0000), *DENY, *ALLOWED)


def _own_limits() -> Leaf:
    """prlimit64: read the own limits; setting them is answered with success and ignored."""
    reading = _null(2, PRETEND)
    return (_load(0), (_JEQ, len(DENY), 0, 0), *DENY, *reading)


def _checked(pid: int, profile: syscall_lists.Profile) -> dict[str, Leaf]:
    """Calls that depend on their arguments, which only values in registers can decide."""
    checked = {
        "clone": _same_namespaces() if profile.starts_programs else _thread_only(),
        "clone3": MISSING,  # its flags lie in memory; libc falls back to clone
        "execveat": _one_of(0, (PROGRAM_FD,)) if "execveat" in profile.allowed else DENY,
        "fcntl": _one_of(1, syscall_lists.FCNTL_COMMANDS),
        "futex": _one_of(1, syscall_lists.FUTEX_OPERATIONS, mask=0x7F),
        "ioctl": _one_of(1, syscall_lists.IOCTL_REQUESTS, _answer(_ERRNO | errno.ENOTTY)),
        "prctl": _one_of(0, syscall_lists.PRCTL_OPTIONS),
        "prlimit64": _own_limits(),
        "sendto": _null(4),
        "setrlimit": PRETEND,
        "socketpair": _one_of(0, (1,)),  # AF_UNIX
    }
    checked |= {"kill": _one_of(0, (pid,)), "tgkill": _one_of(0, (pid,))}
    return checked


def program(pid: int, profile: syscall_lists.Profile, machine: str | None = None) -> bytes:
    """The filter for a process that knows itself as `pid`, as packed instructions.

    `machine` is for tests: another processor's filter can be built, though not loaded.
    """
    machine = machine or platform.machine()
    numbers = syscall_numbers.BY_MACHINE[machine]
    leaves = dict.fromkeys(range(max(numbers.values()) + 1), MISSING) | dict.fromkeys(numbers.values(), DENY)
    leaves |= {numbers[name]: KILLED for name in syscall_lists.KILL if name in numbers}
    leaves |= {numbers[name]: ALLOWED for name in profile.allowed if name in numbers}
    leaves |= {numbers[name]: leaf for name, leaf in _checked(pid, profile).items() if name in numbers}
    starts: list[tuple[int, Leaf]] = []
    for number in sorted(leaves):  # neighbours with the same answer become one range
        if not starts or starts[-1][1] != leaves[number]:
            starts.append((number, leaves[number]))
    starts.append((max(leaves) + 1, MISSING))
    head: list[Instruction] = [
        (_LD, 0, 0, _ARCH_OFFSET),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        *KILLED,
        (_LD, 0, 0, 0),
        (_JGE, 0, 1, _X32_BIT),
        *KILLED,
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in [*head, *_tree(starts)])


def _tree(starts: list[tuple[int, Leaf]]) -> list[Instruction]:
    """A binary search over ranges that begin at `starts`."""
    if len(starts) == 1:
        return list(starts[0][1])
    middle = len(starts) // 2
    below, above = _tree(starts[:middle]), _tree(starts[middle:])
    if len(below) <= 255:
        return [(_JGE, len(below), 0, starts[middle][0]), *below, *above]
    # A conditional jump reaches 255 instructions; the unconditional one (0x05) reaches all.
    return [(_JGE, 0, 1, starts[middle][0]), (0x05, 0, 0, len(below)), *below, *above]


def load(instructions: bytes) -> None:
    """Confine this thread, and all it starts, for good. Needs no_new_privileges. Raises OSError."""
    loaded = _Program(len(instructions) // 8, instructions)
    kernel.syscall("seccomp", _SECCOMP_SET_MODE_FILTER, 0, loaded)
