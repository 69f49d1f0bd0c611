"""Attacks on everybody else: the network, other processes, the service itself."""

from tests.sandbox.attacks.attack import Attack, program

NETWORK: tuple[Attack, ...] = (
    program(
        "network: a service on this machine",
        """
        import socket
        attempt(lambda: socket.create_connection(("127.0.0.1", @PORT@), 1),
                lambda: socket.create_connection(("localhost", @PORT@), 1))
        """,
        "wrong_answer",
        "sandbox_violation",
        guard=True,
    ),
    program(
        "network: names",
        "import socket\nattempt(lambda: socket.getaddrinfo('example.org', 80), lambda: socket.gethostbyname('a.b'))",
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "network: abstract and named unix sockets",
        """
        import socket
        def connect(path):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.connect(path)
        attempt(lambda: connect("\\0@MARK@"), lambda: connect("@SOCKET@"), lambda: connect("/run/docker.sock"))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "network: from a socket pair to somewhere else",
        """
        import socket
        def send(address):
            a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            a.sendto(b"x", address)
        def reconnect(address):
            a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            a.connect(address)
        attempt(lambda: send("\\0@MARK@"), lambda: send("@SOCKET@"), lambda: reconnect("\\0@MARK@"))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "network: listen",
        """
        import socket
        def listen(family, address):
            s = socket.socket(family)
            s.bind(address)
            s.listen()
        attempt(lambda: listen(socket.AF_INET, ("127.0.0.1", 0)), lambda: listen(socket.AF_UNIX, "\\0@MARK@-own"),
                lambda: listen(socket.AF_INET6, ("::1", 0)))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "network: raw, packet, netlink, crypto, virtual machine",
        """
        import socket
        kinds = [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_RAW, 0), (16, socket.SOCK_RAW, 0),
                 (38, socket.SOCK_SEQPACKET, 0), (40, socket.SOCK_STREAM, 0), (socket.AF_INET, socket.SOCK_DGRAM, 0)]
        attempt(*[lambda k=k: socket.socket(*k) for k in kinds])
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
)

PROCESSES: tuple[Attack, ...] = (
    program(
        "signals: may it send one to others",
        """
        targets = [pid for pid in (os.getppid(), @SERVICE_PID@, -os.getppid()) if pid not in (0, os.getpid())]
        attempt(*[lambda t=t: os.kill(t, 0) for t in (*targets, -1)])
        """,
        "wrong_answer",
        "sandbox_violation",
        guard=True,
    ),
    program(
        "signals: kill the parent and its group",
        """
        for target in (os.getppid(), @SERVICE_PID@):
            for kill in (os.kill, os.killpg):
                try:
                    if target > 1:
                        kill(target, signal.SIGKILL)
                except OSError:
                    pass
        tell(False)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "signals: kill its own group",
        "os.kill(0, signal.SIGKILL)\ntell(False)",
        "runtime_error",
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "signals: kill itself",
        "os.kill(os.getpid(), signal.SIGKILL)\ntell(False)",
        "runtime_error",
        "wrong_answer",
        "memory_limit",
    ),
    program(
        "signals: to the owner of a pipe",
        """
        import fcntl
        def aim(fd, pid):
            fcntl.fcntl(fd, fcntl.F_SETOWN, pid)
            fcntl.fcntl(fd, 10, signal.SIGKILL)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        r, w = os.pipe()
        for fd in (r, 0, 1, 2):
            for pid in (os.getppid(), @SERVICE_PID@):
                try:
                    aim(fd, pid)
                except OSError:
                    pass
        os.write(w, b"x")
        tell(False)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "parent: its priority, its cores, its limits",
        """
        import resource
        parent = os.getppid()
        if parent == 0:
            parent = 1 if os.getpid() != 1 else @SERVICE_PID@
        attempt(lambda: os.setpriority(os.PRIO_PROCESS, parent, 19), lambda: os.sched_setaffinity(parent, {0}),
                lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (16, 16)),
                lambda: os.sched_setscheduler(parent, os.SCHED_IDLE, os.sched_param(0)))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "outlive the parent",
        """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        tell(False)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "become somebody else",
        """
        attempt(lambda: os.setuid(0) if os.getuid() else os.stat("/nowhere"), lambda: os.setgid(0) if os.getgid()
                else os.stat("/nowhere"), lambda: os.setgroups([0]), lambda: os.setresuid(0, 0, 0) if os.getuid()
                else os.stat("/nowhere"), lambda: os.chroot("."), lambda: os.nice(-5))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
)

ATTACKS: tuple[Attack, ...] = (*NETWORK, *PROCESSES)
