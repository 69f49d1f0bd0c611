"""Attacks on the machine's resources: processes, memory, disk.

The sandbox that runs them has the limits of `gauntlet.TIGHT`; every bomb is itself bounded where a bound does not
change what it shows, so that a missing wall costs a test and not the machine.
"""

from tests.sandbox.attacks.attack import Attack, program

PROCESSES: tuple[Attack, ...] = (
    program(
        "fork once",
        """
        try:
            pid = os.fork()
        except OSError as error:
            tell(False, error)
        else:
            if pid == 0:
                os._exit(0)
            tell(True)
        """,
        "wrong_answer",
        "sandbox_violation",
        guard=True,
    ),
    program(
        "fork bomb",
        """
        born = 0
        for _ in range(2000):
            try:
                if os.fork() == 0:
                    import time
                    time.sleep(20)
                    os._exit(0)
                born += 1
            except OSError:
                pass
        tell(born)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "double-forked daemon",
        """
        try:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    import time
                    time.sleep(20)
                os._exit(0)
            tell(True)
        except OSError as error:
            tell(False, error)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program("shell through os.system", "tell(os.system('exit 7') == 7 << 8)", "wrong_answer", "sandbox_violation"),
    program(
        "subprocess",
        """
        import subprocess
        attempt(lambda: subprocess.run(["/bin/true"], check=False))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "posix_spawn",
        "attempt(lambda: os.posix_spawn(sys.executable or '/bin/true', ['x', '-c', ''], {}))",
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "exec another program in place",
        """
        code = "print('breached')"
        attempt(lambda: os.execv(sys.executable or "/usr/bin/python3", ["python3", "-I", "-c", code]),
                lambda: os.execv("/bin/echo", ["echo", "breached"]))
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "multiprocessing pool",
        """
        import multiprocessing
        attempt(lambda: multiprocessing.get_context("fork").Process(target=int).start())
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "thread bomb",
        """
        import threading, time
        started = 0
        try:
            for _ in range(5000):
                threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()
                started += 1
        except (RuntimeError, MemoryError) as error:
            tell(started > 1000, error)
        else:
            tell(True)
        sys.stdout.flush()
        os._exit(0)
        """,
        "wrong_answer",
        "memory_limit",
        "time_limit",
    ),
)

MEMORY: tuple[Attack, ...] = (
    program(
        "memory: twice the limit",
        """
        hoard = [bytearray(b"x") * (16 << 20) for _ in range(32)]
        tell(True)
        """,
        "memory_limit",
        guard=True,
    ),
    program("memory: endless list", "hoard = [b'']\nwhile True: hoard.append(bytes(4096))", "memory_limit"),
    program(
        "memory: refuses to give up",
        """
        hoard = []
        while True:
            try:
                hoard.append(bytearray(b"x") * (1 << 20))
            except MemoryError:
                pass
        """,
        "memory_limit",
        "time_limit",
    ),
    program(
        "memory: private and shared maps",
        """
        import mmap
        hoard = []
        try:
            for i in range(1024):
                m = mmap.mmap(-1, 4 << 20, (mmap.MAP_SHARED, mmap.MAP_PRIVATE)[i % 2] | mmap.MAP_ANONYMOUS)
                m[::4096] = bytes(1024)
                hoard.append(m)
        except (OSError, MemoryError) as error:
            tell(len(hoard) * 4 > 600, error)
        else:
            tell(True)
        """,
        "memory_limit",
        "wrong_answer",
    ),
    program(
        "memory: from eight threads",
        """
        import threading
        hoard = []
        def eat():
            while True:
                hoard.append(bytearray(b"x") * (1 << 20))
        for _ in range(8):
            threading.Thread(target=eat).start()
        """,
        "memory_limit",
        "time_limit",
    ),
    program("memory: one huge integer", "tell((1 << (1 << 36)) > 0)", "memory_limit", "runtime_error"),
    program("memory: one huge string", "tell(len('x' * (1 << 40)))", "memory_limit", "runtime_error"),
    program(
        "memory: in pipes",
        """
        import fcntl
        held = 0
        try:
            for _ in range(2000):
                r, w = os.pipe()
                size = fcntl.fcntl(w, 1031, 1 << 20)
                os.set_blocking(w, False)
                held += os.write(w, bytes(size))
        except OSError as error:
            tell(held > 64 << 20, error)
        else:
            tell(True)
        """,
    ),
    program(
        "memory: in socket buffers",
        """
        import socket
        held, pairs = 0, []
        try:
            for _ in range(2000):
                a, b = socket.socketpair()
                pairs.append((a, b))
                a.setblocking(False)
                try:
                    while True:
                        held += a.send(bytes(65536))
                except BlockingIOError:
                    pass
        except OSError as error:
            tell(held > 64 << 20, error)
        else:
            tell(True)
        """,
    ),
    program(
        "memory: raise the limits back",
        """
        import resource
        grown = 0
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE,
                      resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
            hard = resource.getrlimit(limit)[1]
            if hard == resource.RLIM_INFINITY:
                continue
            try:
                resource.setrlimit(limit, (hard + 1, hard + 1))
                grown += resource.getrlimit(limit)[1] > hard  # a call that lies about its success is fine
            except (ValueError, OSError):
                pass
        tell(grown)
        """,
    ),
    program(
        "memory: lock it",
        """
        libc = ctypes.CDLL(None, use_errno=True)
        tell(libc.mlockall(3) == 0 and libc.mmap(0, 256 << 20, 3, 0x22, -1, 0) != -1, os.strerror(ctypes.get_errno()))
        """,
        "wrong_answer",
        "memory_limit",
        "sandbox_violation",
    ),
)

DISK: tuple[Attack, ...] = (
    program(
        "disk: fill the scratch",
        """
        written = 0
        try:
            for n in range(64):
                with open(f"f{n}", "wb", buffering=0) as file:
                    while file.tell() < 4 << 20:
                        written += file.write(bytes(1 << 20))
        except OSError as error:
            tell(written > 8 << 20, error)
        else:
            tell(True)
        """,
        "wrong_answer",
        "runtime_error",
        guard=True,
    ),
    program(
        "disk: one file without an end",
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        written = 0
        try:
            with open("f", "wb", buffering=0) as file:
                while written < 1 << 30:
                    written += file.write(bytes(1 << 20))
        except OSError as error:
            tell(written > 8 << 20, error)
        else:
            tell(True)
        """,
    ),
    program(
        "disk: a hundred thousand empty files",
        """
        made = 0
        try:
            for n in range(100_000):
                os.close(os.open(f"f{n}", os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError as error:
            tell(made > 20_000, error)
        else:
            tell(True)
        """,
    ),
    program(
        "disk: folders without an end",
        """
        depth = 0
        try:
            for depth in range(20_000):
                os.mkdir("d")
                os.chdir("d")
        except OSError as error:
            tell(depth > 10_000, error)
        else:
            tell(True)
        """,
    ),
    program("disk: core dump", "os.abort()", "runtime_error"),
)

ATTACKS: tuple[Attack, ...] = (*PROCESSES, *MEMORY, *DISK)
