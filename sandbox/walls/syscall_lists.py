"""Which system calls a run may make: the table behind seccomp.py. Every name here is attack surface; add with a reason.

Not listed on purpose: socket, connect, bind (no network even where a namespace leaks), sendmsg and recvmsg (descriptors
in flight), memfd_create, shm*, msg*, sem*, mq_* (memory that no limit counts), chmod, chown, utime and xattr (Landlock
does not cover them), splice, tee, vmsplice, timer_create, personality, seccomp.
"""

from dataclasses import dataclass

_FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev open openat close close_range stat fstat lstat newfstatat
    statx statfs fstatfs lseek dup dup2 dup3 pipe pipe2 access faccessat faccessat2 getcwd chdir fchdir getdents64
    readlink readlinkat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 ftruncate fallocate fsync
    fdatasync flock fadvise64 sendfile copy_file_range umask
"""
_WAITING = """
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
    timerfd_create timerfd_settime timerfd_gettime recvfrom shutdown getsockname getpeername getsockopt
    nanosleep clock_nanosleep sched_yield pause
"""
_MEMORY = "mmap munmap mprotect mremap madvise brk msync mincore mlock munlock membarrier"
_SIGNALS = """
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack alarm setitimer
    getitimer restart_syscall signalfd4
"""
_THREADS = "set_robust_list get_robust_list set_tid_address rseq exit exit_group wait4 waitid arch_prctl"
_KNOWING = """
    getpid getppid gettid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups
    getrlimit getrusage getpriority times time gettimeofday clock_gettime clock_getres uname sysinfo getcpu
    sched_getaffinity sched_getscheduler sched_getparam sched_get_priority_max sched_get_priority_min getrandom
"""
# A compiler driver and what it starts: other programs, their files' modes, links for temporary names.
_PROGRAMS = """
    execve fork vfork setpgid setsid chmod fchmod fchmodat link linkat symlink symlinkat utimensat
    truncate creat
"""

# Nothing but an attack on the kernel or on a neighbour calls these.
KILL = frozenset(
    [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "process_mrelease",
        "kcmp",
        "pidfd_open",
        "pidfd_getfd",
        "pidfd_send_signal",
        "bpf",
        "userfaultfd",
        "perf_event_open",
        "keyctl",
        "add_key",
        "request_key",
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "name_to_handle_at",
        "open_by_handle_at",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "kexec_file_load",
        "reboot",
        "swapon",
        "swapoff",
        "iopl",
        "ioperm",
        "modify_ldt",
        "acct",
        "quotactl",
        "quotactl_fd",
        "settimeofday",
        "clock_settime",
        "clock_adjtime",
        "adjtimex",
        "sethostname",
        "setdomainname",
        "syslog",
        "lookup_dcookie",
        "fanotify_init",
        "fanotify_mark",
        "vhangup",
        "migrate_pages",
        "move_pages",
        "capset",
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setfsuid",
        "setfsgid",
        "setgroups",
        "memfd_secret",
    ]
)

FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # copies, flags, locks; no owner, seal or pipe size
FUTEX_OPERATIONS = (0, 1, 3, 4, 5, 9, 10)  # wait, wake, requeue; no priority inheritance
IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, its size, FIONREAD, FIONBIO, exec
PRCTL_OPTIONS = (15, 16, 0x53564D41)  # a thread's name, names for memory


@dataclass(frozen=True, slots=True)
class Profile:
    """A list for one kind of program."""

    allowed: frozenset[str]
    starts_programs: bool = False  # may fork and exec inside its walls


PROGRAM = Profile(frozenset(f"{_FILES}{_WAITING}{_MEMORY} {_SIGNALS}{_THREADS}{_KNOWING}".split()))
TOOLCHAIN = Profile(PROGRAM.allowed | frozenset(_PROGRAMS.split()), starts_programs=True)
# Another program in the child's place, which starts nothing itself: from memory, or a file that may be executed.
BINARY = Profile(PROGRAM.allowed | {"execveat"})
ENGINE = Profile(PROGRAM.allowed | {"execve"})
PROFILES = {"program": PROGRAM, "toolchain": TOOLCHAIN, "binary": BINARY, "engine": ENGINE}
