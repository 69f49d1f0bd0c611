"""The filter decides as the lists say, on both processors: the instructions are run here, one by one."""

import errno
import struct

import pytest

from sandbox.walls import seccomp, syscall_numbers
from sandbox.walls.syscall_lists import BINARY, ENGINE, KILL, PROGRAM, TOOLCHAIN, Profile

pytestmark = pytest.mark.unit

PID = 4242
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILLED = 0x7FFF0000, 0x80000000


def errno_of(number: int) -> int:
    return 0x00050000 | number


def decide(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel's interpreter would answer; any instruction that the filter should not have is an error."""
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, arch, 0, *(value & (2**64 - 1) for value in padded))
    instructions = list(struct.iter_unpack("=HBBI", program))
    position = accumulator = 0
    while True:
        code, yes, no, k = instructions[position]
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                position += k
            case 0x15:
                position += yes if accumulator == k else no
            case 0x35:
                position += yes if accumulator >= k else no
            case 0x45:
                position += yes if accumulator & k else no
            case 0x06:
                return k
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def ask(machine: str, name: str, *arguments: int, profile: Profile = PROGRAM) -> int:
    program = seccomp.program(PID, profile, machine)
    return decide(program, ARCH[machine], syscall_numbers.BY_MACHINE[machine][name], arguments)


def test_every_listed_call_is_allowed_and_every_other_refused(machine: str) -> None:
    program = seccomp.program(PID, PROGRAM, machine)
    by_argument = {"clone", "clone3", "fcntl", "futex", "ioctl", "prctl", "prlimit64", "sendto", "setrlimit"}
    by_argument |= {"socketpair", "kill", "tgkill"}
    for name, number in syscall_numbers.BY_MACHINE[machine].items():
        if name in by_argument:
            continue
        expected = KILLED if name in KILL else ALLOW if name in PROGRAM.allowed else errno_of(errno.EPERM)
        assert decide(program, ARCH[machine], number) == expected, name


@pytest.mark.parametrize("name", ["fork", "vfork", "execve", "execveat", "socket", "connect", "bind", "memfd_create"])
def test_processes_and_sockets_are_refused(machine: str, name: str) -> None:
    if name in syscall_numbers.BY_MACHINE[machine]:
        assert ask(machine, name) == errno_of(errno.EPERM)


def test_lists_name_only_calls_that_exist() -> None:
    known = {*syscall_numbers.X86_64, *syscall_numbers.AARCH64}
    assert known >= KILL
    assert known >= TOOLCHAIN.allowed
    assert not KILL & TOOLCHAIN.allowed


def test_clone_makes_threads_only(machine: str) -> None:
    thread = 0x3D0F00  # what pthread_create passes
    assert ask(machine, "clone", thread) == ALLOW
    assert ask(machine, "clone", 0x01200011) == errno_of(errno.EPERM)  # fork
    assert ask(machine, "clone", 0x4111) == errno_of(errno.EPERM)  # vfork
    for namespace in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask(machine, "clone", thread | namespace) == errno_of(errno.EPERM)
    assert ask(machine, "clone3", 0, 88) == errno_of(errno.ENOSYS)


def test_signals_reach_the_process_itself_only(machine: str) -> None:
    for name in ("kill", "tgkill"):
        assert ask(machine, name, PID) == ALLOW
        for other in (PID + 1, 1, 0, -1, -PID):
            assert ask(machine, name, other) == errno_of(errno.EPERM), other


def test_another_architecture_and_x32_are_fatal() -> None:
    program = seccomp.program(PID, PROGRAM, "x86_64")
    assert decide(program, 0x40000003, 1) == KILLED  # i386: 1 is exit there
    assert decide(program, ARCH["x86_64"], 0x40000000 | 1) == KILLED
    assert decide(program, ARCH["x86_64"], 0x40000000 | 520) == KILLED


def test_numbers_after_the_table_do_not_exist(machine: str) -> None:
    program = seccomp.program(PID, PROGRAM, machine)
    for number in (max(syscall_numbers.BY_MACHINE[machine].values()) + 1, 462, 1000, 0x3FFFFFFF):
        assert decide(program, ARCH[machine], number) == errno_of(errno.ENOSYS)


def test_limits_can_be_read_but_setting_them_does_nothing(machine: str) -> None:
    assert ask(machine, "prlimit64", 0, 3, 0, 0x7FFF0000) == ALLOW
    assert ask(machine, "prlimit64", 0, 3, 0x7FFF0000, 0) == errno_of(0)
    assert ask(machine, "prlimit64", 0, 3, 0x7FFF_0000_0000, 0) == errno_of(0)  # a pointer whose low half is zero
    assert ask(machine, "prlimit64", PID, 3, 0, 0x7FFF0000) == errno_of(errno.EPERM)


def test_arguments_are_compared_as_the_kernel_reads_them(machine: str) -> None:
    assert ask(machine, "fcntl", 1, 1031, 1 << 20) == errno_of(errno.EPERM)  # F_SETPIPE_SZ
    assert ask(machine, "fcntl", 1, 3) == ALLOW
    assert ask(machine, "fcntl", 1, (1 << 32) | 3) == ALLOW  # the command is an int: its high half is not read
    assert ask(machine, "ioctl", 0, 0x5412) == errno_of(errno.ENOTTY)  # TIOCSTI
    assert ask(machine, "ioctl", 0, 0x5401) == ALLOW
    assert ask(machine, "socketpair", 1, 1, 0) == ALLOW
    assert ask(machine, "socketpair", 2, 1, 0) == errno_of(errno.EPERM)
    assert ask(machine, "sendto", 3, 0, 1, 0, 0, 0) == ALLOW
    assert ask(machine, "sendto", 3, 0, 1, 0, 1 << 40, 16) == errno_of(errno.EPERM)  # to an address
    assert ask(machine, "prctl", 15) == ALLOW
    assert ask(machine, "prctl", 22, 2) == errno_of(errno.EPERM)  # a filter of its own
    assert ask(machine, "futex", 0, 0x80) == ALLOW
    assert ask(machine, "futex", 0, 0x86) == errno_of(errno.EPERM)  # priority inheritance


def test_a_toolchain_starts_programs_but_no_namespaces(machine: str) -> None:
    assert ask(machine, "execve", profile=TOOLCHAIN) == ALLOW
    assert ask(machine, "clone", 0x01200011, profile=TOOLCHAIN) == ALLOW
    assert ask(machine, "clone", 0x10000011, profile=TOOLCHAIN) == errno_of(errno.EPERM)
    assert ask(machine, "ptrace", profile=TOOLCHAIN) == KILLED
    assert ask(machine, "socket", profile=TOOLCHAIN) == errno_of(errno.EPERM)
    assert ask(machine, "kill", PID + 1, 9, profile=TOOLCHAIN) == errno_of(errno.EPERM)


def test_what_is_executed_in_the_childs_place_starts_nothing_itself(machine: str) -> None:
    for profile, call, other in ((BINARY, "execveat", "execve"), (ENGINE, "execve", "execveat")):
        assert ask(machine, call, 3, profile=profile) == ALLOW
        assert ask(machine, other, 3, profile=profile) == errno_of(errno.EPERM)
        assert ask(machine, "clone", 0x01200011, profile=profile) == errno_of(errno.EPERM)
        assert ask(machine, "clone", 0x003D0F00, profile=profile) == ALLOW  # a thread
        assert ask(machine, "clone3", profile=profile) == errno_of(errno.ENOSYS)
        assert ask(machine, "socket", profile=profile) == errno_of(errno.EPERM)
        assert ask(machine, "ptrace", profile=profile) == KILLED
    assert ask(machine, "execveat", 4, profile=BINARY) == errno_of(errno.EPERM)


def test_a_prepared_filter_takes_any_pid_by_replacing_one_word() -> None:
    prepared = seccomp.program(0x7EADBEEF, PROGRAM, "x86_64")
    assert prepared.replace(struct.pack("=I", 0x7EADBEEF), struct.pack("=I", 7)) == seccomp.program(
        7, PROGRAM, "x86_64"
    )


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"),
    [("read", 0, 63), ("execve", 59, 221), ("clone", 56, 220), ("ptrace", 101, 117), ("openat", 257, 56),
     ("seccomp", 317, 277), ("bpf", 321, 280), ("landlock_restrict_self", 446, 446), ("mmap", 9, 222)],
)  # fmt: skip
def test_numbers_are_those_of_the_kernel(name: str, x86_64: int, aarch64: int) -> None:
    assert syscall_numbers.X86_64[name] == x86_64
    assert syscall_numbers.AARCH64[name] == aarch64
