"""Attacks on the service's patience: output, descriptors, time."""

from tests.sandbox.attacks.attack import Attack, program

OUTPUT: tuple[Attack, ...] = (
    program("output: lines without an end", "while True: print('x' * 100)", "output_limit"),
    program("output: one line without an end", "while True: os.write(1, b'x' * 65536)", "output_limit"),
    program("output: errors without an end", "while True: os.write(2, b'x' * 65536)", "output_limit", "time_limit"),
    program(
        "output: both at once, from threads",
        """
        import threading
        def flood(fd):
            while True:
                os.write(fd, b"x" * 4096)
        for fd in (1, 2, 1, 2):
            threading.Thread(target=flood, args=(fd,)).start()
        """,
        "output_limit",
    ),
    program("output: one byte at a time", "while True: os.write(1, b'x')", "output_limit", "time_limit"),
    program("output: bytes of no encoding", "os.write(1, bytes(range(256)) * 16)"),
    program("output: a megabyte of zero bytes", "os.write(1, bytes(1 << 20))", "output_limit", "wrong_answer"),
    program("output: half a million empty lines", "os.write(1, b'\\n' * 500_000)"),
    program("output: the line without an end is right at first", "print('breached'); print('breached ' * 100_000)"),
)

DESCRIPTORS: tuple[Attack, ...] = (
    program(
        "descriptors: open until it fails",
        """
        opened = 0
        try:
            for _ in range(20_000):
                os.open("/dev/null", os.O_RDONLY)
                opened += 1
        except OSError as error:
            tell(opened > 4096, error)
        else:
            tell(True)
        """,
    ),
    program(
        "descriptors: duplicate to high numbers",
        """
        made = 0
        for fd in (64, 255, 1024, 4096, 65535, 1 << 20):
            try:
                os.dup2(1, fd)
                made += fd > 1024
            except OSError:
                pass
        tell(made)
        """,
    ),
    program(
        "descriptors: close them all, then answer",
        "os.closerange(0, 4096)\nprint('breached')",
        "runtime_error",
        "wrong_answer",
    ),
    program(
        "descriptors: close them all, then spin",
        "os.closerange(0, 4096)\nwhile True: pass",
        "time_limit",
    ),
    program("descriptors: write into standard input", "attempt(lambda: os.write(0, b'x'))"),
    program(
        "descriptors: reopen those of other processes",
        """
        pids = [pid for pid in (os.getppid(), @SERVICE_PID@, 1, 2) if pid not in (0, os.getpid())]
        attempt(*[lambda p=p, n=n: os.open(f"/proc/{p}/fd/{n}", os.O_RDWR) for p in pids for n in range(16)])
        """,
    ),
)

TIME: tuple[Attack, ...] = (
    program("time: endless loop", "while True: pass", "time_limit"),
    program("time: endless sleep", "import time\ntime.sleep(1e6)", "time_limit"),
    program(
        "time: loop that ignores every signal",
        """
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True: pass
        """,
        "time_limit",
    ),
    program(
        "time: eight spinning threads",
        """
        import threading
        def spin():
            while True: pass
        for _ in range(8):
            threading.Thread(target=spin).start()
        """,
        "time_limit",
    ),
    program("time: stops itself", "os.kill(os.getpid(), signal.SIGSTOP)\ntell(False)", "time_limit", "wrong_answer"),
    program(
        "time: answers, then never ends",
        "print('breached', flush=True)\nwhile True: pass",
        "time_limit",
    ),
    program(
        "time: answers, closes the output, then never ends",
        "print('breached', flush=True)\nos.close(1)\nos.close(2)\nimport time\ntime.sleep(1e6)",
        "time_limit",
    ),
    program(
        "time: thread that outlives the program",
        """
        import threading, time
        threading.Thread(target=time.sleep, args=(1e6,)).start()
        print("breached")
        """,
        "time_limit",
    ),
    program(
        "time: never ends at exit", "import atexit\natexit.register(lambda: sum(0 for _ in iter(int, 1)))", "time_limit"
    ),
    program(
        "time: never ends in a finalizer",
        """
        class Trap:
            def __del__(self):
                while True: pass
        trap = Trap()
        """,
        "time_limit",
        "wrong_answer",
    ),
    program("time: one operation in C", "tell(3 ** (3 ** 18))", "time_limit", "memory_limit"),
    program("time: regular expression", "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')", "time_limit"),
    program(
        "time: waits for what never comes",
        """
        import threading
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
        """,
        "time_limit",
    ),
    program("time: reads a pipe of its own", "r, w = os.pipe()\nos.read(r, 1)", "time_limit"),
)

ATTACKS: tuple[Attack, ...] = (*OUTPUT, *DESCRIPTORS, *TIME)
