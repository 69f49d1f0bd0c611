"""Attacks in C and C++: on the walls around a compiled program, and on the compiler by hostile sources."""

from textwrap import dedent

from sandbox import Language
from sandbox.results import Outcome
from tests.sandbox.attacks.attack import Attack

_PRELUDE = """\
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>
static int told = -1;
static void tell(long got) { told = got >= 0 || told > 0; }
__attribute__((destructor)) static void say(void) { if (told >= 0) puts(told ? "breached" : "held"); }
"""
_WRONG: tuple[Outcome, ...] = ("wrong_answer",)
_ENDED: tuple[Outcome, ...] = ("wrong_answer", "runtime_error", "memory_limit", "sandbox_violation")


def c(name: str, body: str, *allowed: Outcome, expected: str = "breached", guard: bool = False) -> Attack:
    """A main function after the prelude; by default it may only get its answer wrong."""
    source = f"{_PRELUDE}{dedent(body)}"
    if "main(" not in body:
        source = f"{_PRELUDE}int main(void) {{\n{dedent(body)}\nreturn 0; }}\n"
    tests = (("", expected),)
    return Attack(f"c: {name}", "program", source, frozenset(allowed or _WRONG), tests, guard=guard, language="c")


def source(name: str, text: str, *allowed: Outcome, language: Language = "c", expected: str = "breached") -> Attack:
    """A whole source that attacks its compiler."""
    outcomes = frozenset(allowed or ("compile_error",))
    return Attack(f"{language}: {name}", "program", dedent(text), outcomes, (("", expected),), language=language)


PROCESSES: tuple[Attack, ...] = (
    c("fork", "int pid = fork(); if (pid == 0) _exit(0); tell(pid);", guard=True),
    c(
        "fork bomb by every call there is",
        """
        long born = -1;
        for (int i = 0; i < 500; i++) {
          long pid = i % 3 == 0 ? syscall(SYS_fork) : i % 3 == 1 ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                                                                 : syscall(SYS_vfork);
          if (pid == 0) { sleep(20); _exit(0); }
          if (pid > 0) born = pid;
        }
        tell(born);
        """,
    ),
    c("clone3", "char flags[88] = {0}; long r = syscall(435, flags, 88L); if (r == 0) _exit(0); tell(r);"),
    c("clone into new namespaces", "tell(syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0));"),
    c("a shell", 'execl("/bin/sh", "sh", "-c", "echo breached", (char *)0); tell(-1);'),
    c("system", 'tell(system("true") == 0 ? 1 : -1);'),
    c("execution of its own input", 'char *none[] = {0}; syscall(SYS_execveat, 0, "", none, none, 0x1000); tell(-1);'),
    c(
        "a file in memory",
        """
        char *none[] = {0};
        tell(syscall(SYS_memfd_create, "x", 0));
        syscall(SYS_execveat, 3, "", none, none, 0x1000);
        """,
    ),
    c("ptrace", "tell(ptrace(PTRACE_SEIZE, @SERVICE_PID@, 0, 0));", "sandbox_violation"),
    c("traced by its parent", "tell(ptrace(PTRACE_TRACEME, 0, 0, 0));", "sandbox_violation"),
    c(
        "memory of the service",
        """
        char into[64]; long local[2] = {(long)into, 64}, remote[2] = {0x400000, 64};
        tell(syscall(SYS_process_vm_readv, @SERVICE_PID@, local, 1L, remote, 1L, 0L));
        """,
        "sandbox_violation",
    ),
    c("a signal to the service", "tell(kill(@SERVICE_PID@, SIGKILL));"),
    c("a signal to everything", "tell(kill(-1, SIGKILL));"),
    c("a signal to its group", "tell(kill(0, SIGCONT));"),
    c("its name for 32 bits", 'long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(2L)); tell(r);', *_ENDED),
    c("a number of x32", "tell(syscall(0x40000000 | SYS_getpid));", "sandbox_violation"),
)

OUTSIDE: tuple[Attack, ...] = (
    c("TCP", "tell(socket(AF_INET, SOCK_STREAM, 0));"),
    c("a unix socket", "tell(socket(AF_UNIX, SOCK_STREAM, 0));"),
    c("netlink and raw packets", "tell(socket(16, SOCK_RAW, 0)); tell(socket(17, SOCK_RAW, 0));"),
    c("a ring of system calls", "char p[120] = {0}; tell(syscall(425, 4L, p));"),
    c(
        "the bait file",
        """
        char text[256] = {0};
        int fd = open("@FILE@", O_RDONLY);
        if (fd < 0) fd = syscall(437, -100, "@FILE@", (long[3]){0}, 24L);
        if (fd >= 0 && read(fd, text, 255) > 0) puts(text);
        """,
        expected="@SECRET@",
    ),
    c(
        "the bait by a link",
        """
        char text[256] = {0};
        symlink("@FILE@", "@MARK@");
        int fd = open("@MARK@", O_RDONLY);
        if (fd >= 0 && read(fd, text, 255) > 0) puts(text);
        """,
        expected="@SECRET@",
    ),
    c("passwords", 'tell(open("/etc/passwd", O_RDONLY));'),
    c("its own maps", 'tell(open("/proc/self/maps", O_RDONLY));'),
    c("memory of its process", 'tell(open("/proc/self/mem", O_RDWR));'),
    c("the interpreter's library", 'tell(open("/usr/lib", O_RDONLY | O_DIRECTORY));'),
    c(
        "files outside",
        """
        const char *places[] = {"/dev/shm/@MARK@", "/var/tmp/@MARK@", "/@MARK@", "/root/@MARK@", "/usr/@MARK@"};
        long got = -1;
        for (int i = 0; i < 5; i++) { int fd = open(places[i], O_CREAT | O_WRONLY, 0666); if (fd >= 0) got = fd; }
        tell(got);
        """,
    ),
    c("a folder and a device", 'tell(mkdir("/dev/shm/@MARK@", 0777)); tell(mknod("@MARK@", S_IFCHR | 0666, 0x101));'),
    c("shared memory", "tell(shmget(IPC_PRIVATE, 4096, 0600));"),
    c("a mount", 'tell(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0L, 0L));', "sandbox_violation"),
    c("another user", "tell(syscall(SYS_setuid, 0L));", "sandbox_violation"),
    c(
        "descriptors of others",
        "long got = -1; for (int i = 3; i < 1024; i++) if (fcntl(i, F_GETFD) >= 0) got = i; tell(got);",
    ),
    c("an environment", "extern char **environ; tell(environ[0] ? 1 : -1);"),
)

LIMITS: tuple[Attack, ...] = (
    c(
        "memory that is used",
        "for (;;) { char *p = malloc(1 << 22); if (!p) abort(); memset(p, 1, 1 << 22); }",
        *_ENDED,
    ),
    c(
        "limits raised first",
        """
        struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_AS, &all);
        for (;;) { char *p = mmap(0, 1 << 24, 3, 0x22, -1, 0); if (p == MAP_FAILED) abort(); memset(p, 1, 1 << 24); }
        """,
        *_ENDED,
    ),
    c(
        "recursion without end",
        "int f(int n) { volatile char a[1000]; a[0] = n; return f(n + 1) + a[0]; }\nint main(void) { return f(0); }",
        *_ENDED,
    ),
    c(
        "more static memory than there is",
        "static char all[3u << 30]; int main(void) { memset(all, 1, sizeof all); tell(0); return 0; }",
        *_ENDED,
        "compile_error",
    ),
    c("output without end", 'for (;;) puts("flood flood flood flood flood flood flood flood");', "output_limit"),
    c("errors without end", 'for (;;) fputs("flood flood flood flood flood flood flood\\n", stderr);', "output_limit"),
    c("a loop without end", "for (volatile long i = 0;; i++);", "time_limit"),
    c(
        "a loop that ignores every signal",
        "for (int i = 1; i < 65; i++) signal(i, SIG_IGN); for (volatile long i = 0;; i++);",
        "time_limit",
    ),
    c("sleep", "sleep(1000); tell(0);", "time_limit"),
    c(
        "threads without end",
        """
        void *spin(void *x) { for (volatile long i = 0;; i++); return x; }
        int main(void) { pthread_t t; for (int i = 0; i < 500; i++) pthread_create(&t, 0, spin, 0); spin(0); return 0; }
        """,
        "time_limit",
        "memory_limit",
    ),
    c(
        "threads that outlive main",
        """
        void *spin(void *x) { for (volatile long i = 0;; i++); return x; }
        int main(void) { pthread_t t; pthread_create(&t, 0, spin, 0); pthread_exit(0); }
        """,
        "time_limit",
    ),
    c("a status of the sandbox's own", "_exit(99);", "runtime_error"),
    c("another status of the sandbox's own", "_exit(98);", "runtime_error"),
    c("an end before the walls, it says", "_exit(125);", "runtime_error"),
    c("no memory left for its file", "char *p = 0; *p = 1;", "runtime_error"),
)

_COMPILED: tuple[Outcome, ...] = ("compile_error", "wrong_answer", "runtime_error", "memory_limit")
COMPILER: tuple[Attack, ...] = (
    source(
        "a file of the host in the binary",
        """
        #include <stdio.h>
        __asm__(".globl got\\ngot: .incbin \\"@FILE@\\"\\n.byte 0\\n");
        extern char got[];
        int main(void) { puts(got); }
        """,
        expected="@SECRET@",
    ),
    source("a file of the host as a header", '#include "@FILE@"\nint main(void) {}\n'),
    source("a file of the host as assembly", '__asm__(".include \\"@FILE@\\"");\nint main(void) {}\n'),
    source("passwords in the binary", '__asm__(".incbin \\"/etc/passwd\\"");\nint main(void) {}\n'),
    source("an environment in the binary", '__asm__(".incbin \\"/proc/self/environ\\"");\nint main(void) {}\n'),
    *(
        source(f"{path} as a header", f'#include "{path}"\nint main(void) {{}}\n')
        for path in ("/dev/random", "/dev/zero", "/proc/self/mem", "/proc/self/environ", "/tmp", "/")
    ),
    source("its own input as a header", '#include "/dev/stdin"\nint main(void) {}\n', *_COMPILED),
    source("itself as a header", "#include __FILE__\nint main(void) {}\n"),
    source(
        "a million laughs",
        "".join(f"#define A{i + 1} A{i} A{i} A{i} A{i} A{i} A{i} A{i} A{i} A{i} A{i}\n" for i in range(12)).replace(
            "A0", "int;"
        )
        + "A12\nint main(void) {}\n",
        *_COMPILED,
    ),
    source("data without end", '__asm__(".fill 0x7fffffff, 8, 1");\nint main(void) {}\n', *_COMPILED),
    source("assembly without end", '__asm__(".rept 1000000000\\nnop\\n.endr");\nint main(void) {}\n', *_COMPILED),
    source("assembly that calls itself", '__asm__(".macro m\\nm\\nm\\n.endm\\nm");\nint main(void) {}\n', *_COMPILED),
    source("a large table", "int table[100000000] = {1};\nint main(void) {}\n", *_COMPILED),
    source(
        "another loader",
        """
        __asm__(".section .interp,\\"a\\"\\n.string \\"/bin/sh\\"\\n.text");
        int main(void) { return 1; }
        """,
        *_COMPILED,
    ),
    source("no text", "int main(void) { \x00\x01\ud800 }"),
    source(
        "a plug-in", '#pragma GCC plugin "@FILE@"\n#pragma GCC pch_preprocess "@FILE@"\nint main(void) {}\n', *_COMPILED
    ),
    source(
        "templates without end",
        """
        template <class A, class B> struct P {};
        template <int N, class T> struct F { using type = typename F<N - 1, P<T, P<T, T>>>::type; };
        template <class T> struct F<0, T> { using type = T; };
        F<800, int>::type all;
        int main() {}
        """,
        *_COMPILED,
        language="cpp",
    ),
    source(
        "a template of itself",
        """
        template <class T> struct F { F<F<T>> *next; int size() { return sizeof(*next) + next->size(); } };
        int main() { return F<int>().size(); }
        """,
        language="cpp",
    ),
    source(
        "a constant without end",
        """
        constexpr unsigned long f(unsigned long n) { unsigned long s = 0; for (;;) { s += ++n; if (!s) return n; } }
        constexpr unsigned long all = f(1);
        int main() { return all; }
        """,
        language="cpp",
    ),
    source(
        "messages without end",
        "".join(f"int f{i}() {{ return undefined_{i}; }}\n" for i in range(5000)) + "int main() {}\n",
        language="cpp",
    ),
)

ATTACKS: tuple[Attack, ...] = (*PROCESSES, *OUTSIDE, *LIMITS, *COMPILER)
