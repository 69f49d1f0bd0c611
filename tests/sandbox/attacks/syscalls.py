"""Attacks by bare system calls: those that no honest program makes must not reach the kernel's own code.

Each call has arguments that do no harm where it is let through. It is held when it is refused before its arguments are
looked at (EPERM, EACCES or ENOSYS), or when the program is killed for it; any other error means that it was tried.
"""

import platform

from tests.sandbox.attacks.attack import Attack, program

# name: (number on x86_64, on aarch64 (None: it has none), arguments)
CALLS: dict[str, tuple[int, int | None, str]] = {
    "vfork by clone": (56, 220, "0x4011, 0, 0, 0, 0"),
    "clone with new namespaces": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "clone3": (435, 435, "0, 0"),
    "execveat": (322, 281, "-1, b'x', 0, 0, 0"),
    "ptrace attach": (101, 117, "16, os.getppid() or 1, 0, 0"),
    "ptrace seize": (101, 117, "0x4206, os.getppid() or 1, 0, 0"),
    "ptrace traceme": (101, 117, "0, 0, 0, 0"),
    "process_vm_readv": (310, 270, "os.getppid() or 1, 0, 0, 0, 0, 0"),
    "process_vm_writev": (311, 271, "os.getppid() or 1, 0, 0, 0, 0, 0"),
    "process_madvise": (440, 440, "-1, 0, 0, 0, 0"),
    "pidfd_open": (434, 434, "os.getppid() or 1, 0"),
    "pidfd_send_signal": (424, 424, "-1, 0, 0, 0"),
    "pidfd_getfd": (438, 438, "-1, 0, 0"),
    "kcmp": (312, 272, "os.getppid() or 1, os.getpid(), 0, 0, 0"),
    "mount": (165, 40, "b'none', b'/', b'tmpfs', 0, 0"),
    "umount2": (166, 39, "b'/', 2"),
    "pivot_root": (155, 41, "b'.', b'.'"),
    "chroot": (161, 51, "b'.'"),
    "open_tree": (428, 428, "-100, b'/', 1"),
    "move_mount": (429, 429, "-1, b'', -1, b'', 0"),
    "fsopen": (430, 430, "b'tmpfs', 0"),
    "mount_setattr": (442, 442, "-1, b'', 0, 0, 0"),
    "unshare user": (272, 97, "0x10000000"),
    "unshare network": (272, 97, "0x40000000"),
    "setns": (308, 268, "-1, 0"),
    "io_uring_setup": (425, 425, "1, 0"),
    "io_uring_enter": (426, 426, "-1, 0, 0, 0, 0, 0"),
    "bpf": (321, 280, "0, 0, 0"),
    "perf_event_open": (298, 241, "0, 0, -1, -1, 0"),
    "userfaultfd": (323, 282, "0"),
    "keyctl": (250, 219, "0, -3, 1, 0, 0"),
    "add_key": (248, 217, "b'user', b'x', b'x', 1, -3"),
    "request_key": (249, 218, "b'user', b'x', 0, -3"),
    "memfd_create": (319, 279, "b'x', 0"),
    "memfd_secret": (447, 447, "0"),
    "init_module": (175, 105, "0, 0, b''"),
    "finit_module": (313, 273, "-1, b'', 0"),
    "kexec_load": (246, 104, "0, 0, 0, 0"),
    "reboot": (169, 142, "0, 0, 0, 0"),
    "sethostname": (170, 161, "b'x', 1"),
    "setdomainname": (171, 162, "b'x', 1"),
    "swapon": (167, 224, "b'x', 0"),
    "acct": (163, 89, "0"),
    "syslog": (103, 116, "3, 0, 0"),
    "quotactl": (179, 60, "0, 0, 0, 0"),
    "settimeofday": (164, 170, "0, 0"),
    "clock_settime": (227, 112, "0, 0"),
    "clock_adjtime": (305, 266, "0, 0"),
    "vhangup": (153, 58, ""),
    "fanotify_init": (300, 262, "0, 0"),
    "inotify_init1": (294, 26, "0"),
    "name_to_handle_at": (303, 264, "-100, b'/', 0, 0, 0"),
    "open_by_handle_at": (304, 265, "-100, 0, 0"),
    "shmget": (29, 194, "0, 4096, 0o1666"),
    "semget": (64, 190, "0, 1, 0o1666"),
    "msgget": (68, 186, "0, 0o1666"),
    "mq_open": (240, 180, "b'@MARK@', 0o102, 0o666, 0"),
    "mq_unlink": (241, 181, "b'@MARK@'"),
    "socket inet": (41, 198, "2, 1, 0"),
    "socket unix": (41, 198, "1, 1, 0"),
    "socket vsock": (41, 198, "40, 1, 0"),
    "tkill a neighbour": (200, 130, "(os.getppid() or os.getpid()) + 1, 0"),
    "tgkill the parent": (234, 131, "os.getppid() or os.getpid() + 1, os.getppid() or os.getpid() + 1, 0"),
    "rt_sigqueueinfo to the parent": (129, 138, "os.getppid() or os.getpid() + 1, 0, 0"),
    "modify_ldt": (154, None, "0, 0, 0"),
    "iopl": (172, None, "3"),
    "ioperm": (173, None, "0, 1, 1"),
    "personality without random addresses": (135, 92, "0x0040000"),
    "vmsplice": (278, 75, "-1, 0, 0, 0"),
    "migrate_pages": (256, 238, "os.getppid() or 1, 0, 0, 0"),
    "move_pages": (279, 239, "os.getppid() or 1, 0, 0, 0, 0, 0"),
    "process_mrelease": (448, 448, "-1, 0"),
    "capset": (126, 91, "0, 0"),
    "lookup_dcookie": (212, 18, "0, 0, 0"),
    "x32 getpid": (0x40000000 + 39, None, ""),
    "x32 execve": (0x40000000 + 520, None, "b'/bin/true', 0, 0"),
    "fork": (57, None, ""),
    "vfork": (58, None, ""),
}

HELD = "(errno.EPERM, errno.EACCES, errno.ENOSYS)"


def _bare_call(name: str, number: int, arguments: str) -> Attack:
    comma = ", " if arguments else ""
    source = f"""
        me = os.getpid()
        result = call({number}{comma}{arguments})
        if os.getpid() != me:
            os._exit(0)
        tell(-result not in {HELD}, result)
        """
    return program(f"call: {name}", source, "wrong_answer", "sandbox_violation")


_COLUMN = 0 if platform.machine() == "x86_64" else 1
BARE = tuple(_bare_call(name, number, row[2]) for name, row in CALLS.items() if isinstance(number := row[_COLUMN], int))

# i386's getpid through int 0x80: the filter must look at the architecture, not at the number alone.
OTHER_ABI = (
    program(
        "call: through the gate of 32-bit programs",
        """
        import mmap
        code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
        try:
            page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        except OSError as error:
            tell(False, error)
        else:
            page.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
            tell(result > 0, result)
        """,
        "wrong_answer",
        "sandbox_violation",
        "runtime_error",
    ),
)

MEMORY_TRICKS = (
    program(
        "call: a file in memory that is run",
        """
        def run():
            fd = os.memfd_create("x")
            os.write(fd, b"#!/bin/sh\\necho breached\\n")
            os.execve(fd, ["x"], {})
        attempt(run)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "call: shared memory with a name",
        """
        from multiprocessing import shared_memory
        attempt(lambda: shared_memory.SharedMemory(name="@MARK@", create=True, size=4096))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "call: a filter of its own that lies",
        """
        # SECCOMP_RET_ERRNO 0 for every call of getppid: allowed for itself, no way to widen what the sandbox denies
        class Filter(ctypes.Structure):
            _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
        allow_all = (0x06).to_bytes(2, "little") + b"\\0\\0" + (0x7FFF0000).to_bytes(4, "little")
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(22, 2, ctypes.byref(Filter(1, allow_all)), 0, 0)
        attempt(lambda: os.fork() or os._exit(0))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
)

ATTACKS: tuple[Attack, ...] = (
    *BARE,
    *(OTHER_ABI if platform.machine() == "x86_64" else ()),
    *MEMORY_TRICKS,
)
