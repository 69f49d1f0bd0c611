"""Attacks on the walls around data: files, environment, /proc, memory, what is left for the next run."""

from tests.sandbox.attacks.attack import Attack, program

FILES: tuple[Attack, ...] = (
    program(
        "files: accounts of the machine",
        """
        attempt(lambda: open("/etc/passwd").read(), lambda: open("/etc/shadow").read(), lambda: os.listdir("/etc"),
                lambda: open("/etc/hostname").read())
        """,
        guard=True,
    ),
    program(
        "files: home folders",
        "attempt(*[lambda p=p: os.listdir(p) for p in ('/root', '/home', '/work', '/mnt', '/opt', '/srv', '/var')])",
        guard=True,
    ),
    program(
        "files: test data beside the service",
        "print(open('@FILE@').read())",
        "runtime_error",
        expected="@SECRET@",
        guard=True,
    ),
    program(
        "files: test data by a link",
        """
        def follow():
            os.symlink("@FILE@", "link")
            return open("link").read()
        try:
            print(follow())
        except OSError as error:
            tell(False, error)
        """,
        expected="@SECRET@",
    ),
    program(
        "files: test data by a hard link",
        """
        try:
            os.link("@FILE@", "hard")
            print(open("hard").read())
        except OSError as error:
            tell(False, error)
        """,
        expected="@SECRET@",
    ),
    program(
        "files: test data by many roads",
        """
        roads = ["@FILE@", "/proc/self/root@FILE@", "/proc/1/root@FILE@", "/proc/self/cwd/../../../..@FILE@",
                 "../../../../../../../..@FILE@", "/./@FILE@", "/proc/thread-self/root@FILE@",
                 f"/proc/{os.getppid()}/root@FILE@", "/proc/@SERVICE_PID@/root@FILE@", "/oldroot@FILE@",
                 "/.old@FILE@", "/put_old@FILE@"]
        for road in roads:
            try:
                print(open(road).read())
            except OSError:
                pass
        """,
        expected="@SECRET@",
    ),
    program(
        "files: the sandbox's own source",
        """
        roads = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
        library = os.path.dirname(os.__file__)
        roads += [road for road in sys.path if road]
        attempt(*[lambda r=r: open(r).read() if r.endswith(".py") else os.listdir(r)
                  for r in {*roads} if not r.startswith((library, "/usr/lib")) and os.path.dirname(r)] or [
                lambda: open("/nowhere")])
        """,
    ),
    program(
        "files: the repository on the import path",
        """
        found = []
        for name in ("sandbox.box", "rewards.code", "tests.sandbox.attacks.gauntlet", "configs.rewards", "pytest"):
            try:
                __import__(name)
                found.append(name)
            except ImportError:
                pass
        tell(found, found)
        """,
    ),
    program(
        "files: write where others look",
        """
        places = ["/@MARK@", "/tmp/../@MARK@", "/dev/shm/@MARK@", "/var/tmp/@MARK@", "/run/@MARK@", "/etc/@MARK@",
                  "/root/@MARK@", "/usr/lib/@MARK@", os.path.dirname(os.__file__) + "/@MARK@.py",
                  os.path.dirname(os.__file__) + "/__pycache__/@MARK@.pyc"]
        attempt(*[lambda p=p: open(p, "w").write("x") for p in places])
        """,
        guard=True,
    ),
    program(
        "files: leave one for the next run",
        """
        made = []
        for place in ("@MARK@", "/tmp/@MARK@", os.path.expanduser("~/@MARK@")):
            try:
                with open(place, "w") as file:
                    file.write("left over")
                made.append(place)
            except OSError:
                pass
        tell(False, made)
        """,
    ),
    program(
        "files: one from the run before",
        """
        found = [p for p in ("@MARK@", "/tmp/@MARK@", os.path.expanduser("~/@MARK@")) if os.path.exists(p)]
        try:
            found += os.listdir(".")
        except OSError:
            pass
        tell(found, found)
        """,
    ),
    program(
        "files: change the standard library",
        """
        path = os.__file__
        attempt(lambda: open(path, "r+b").write(b"#"), lambda: os.truncate(path, 0), lambda: os.unlink(path),
                lambda: os.rename(path, path + ".old"), lambda: os.utime(path), lambda: os.chmod(path, 0o777),
                lambda: os.chown(path, os.getuid(), os.getgid()), lambda: os.setxattr(path, "user.x", b"x"),
                lambda: os.symlink("/", os.path.dirname(path) + "/@MARK@"))
        """,
    ),
    program(
        "files: special files",
        """
        import stat
        attempt(lambda: os.mknod("disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
                lambda: os.mknod("memory", stat.S_IFCHR | 0o666, os.makedev(1, 1)),
                lambda: open("/dev/mem", "rb"), lambda: open("/dev/kmsg", "rb"), lambda: open("/dev/vda", "rb"),
                lambda: open("/dev/ptmx", "r+b"), lambda: open("/dev/tty", "r+b"), lambda: open("/dev/fuse", "r+b"))
        """,
    ),
    program(
        "files: run what it wrote",
        """
        def run():
            with open("tool", "wb") as file:
                file.write(b"#!/bin/sh\\necho breached\\n")
            os.chmod("tool", 0o4755)
            os.execv("tool", ["tool"])
        attempt(run)
        """,
        "wrong_answer",
        "sandbox_violation",
    ),
    program(
        "files: a temporary file that stays",
        """
        import tempfile
        try:
            handle, path = tempfile.mkstemp(prefix="@MARK@")
            os.write(handle, b"left over")
            tell(False, path)
        except OSError as error:
            tell(False, error)
        """,
    ),
)

SECRETS: tuple[Attack, ...] = (
    program(
        "environment: the service's secrets",
        """
        print("\\n".join(value for value in os.environ.values() if "@MARK@" not in value) or "nothing")
        """,
        expected="@SECRET@",
    ),
    program(
        "environment: through the C library",
        """
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_char_p
        print(libc.getenv(b"RAYZERO_ATTACK_SECRET") or "nothing")
        """,
        expected="@SECRET@",
    ),
    program(
        "proc: environment and memory of others",
        """
        for pid in {os.getppid(), 1, 2, @SERVICE_PID@, "self"}:
            for name in ("environ", "cmdline", "maps", "mem", "stack", "syscall", "auxv"):
                try:
                    with open(f"/proc/{pid}/{name}", "rb") as file:
                        data = file.read(1 << 16)
                except (OSError, ValueError):
                    continue
                if b"RAYZERO_ATTACK_SECRET=" in data:
                    print(data.partition(b"RAYZERO_ATTACK_SECRET=")[2].partition(b"\\0")[0].decode())
        """,
        expected="@SECRET@",
    ),
    program(
        "proc: other processes",
        """
        try:
            others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
        except OSError:
            others = []
        tell(others, others)
        """,
    ),
    program(
        "proc: the kernel's own files",
        """
        attempt(lambda: open("/proc/kcore", "rb").read(1), lambda: open("/proc/kallsyms").readline(),
                lambda: open("/proc/sys/kernel/core_pattern").read(), lambda: os.listdir("/sys/kernel"),
                lambda: open("/proc/sysrq-trigger", "w"), lambda: open("/sys/fs/cgroup/cgroup.procs").read(),
                lambda: open("/proc/self/oom_score_adj", "w").write("-1000"), lambda: open("/proc/keys").read())
        """,
    ),
    program(
        "descriptors: inherited ones",
        """
        import stat
        extra = []
        for fd in range(3, 4096):
            try:
                extra.append((fd, stat.S_IFMT(os.fstat(fd).st_mode)))
            except OSError:
                pass
        # a pipe or socket to somebody else, or a file of the machine
        tell(extra, extra)
        """,
    ),
    program(
        "descriptors: write a verdict to each",
        """
        import json, struct
        frames = [json.dumps(v).encode() for v in ({"outcome": "passed"}, ["ok", "@MARK@"], [0, "ok", True], "passed")]
        for fd in range(3, 1024):
            for frame in frames:
                for head in (b"", struct.pack("<I", len(frame)), struct.pack(">I", len(frame))):
                    try:
                        os.write(fd, head + frame + b"\\n")
                    except OSError:
                        break
        tell(False)
        """,
    ),
    program(
        "memory: secrets among all objects",
        """
        import gc
        gc.unfreeze() if hasattr(gc, "unfreeze") else None
        words, seen = [], set()
        stack = [*gc.get_objects(), *sys.modules.values()]
        while stack and len(seen) < 300_000:
            thing = stack.pop()
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            if isinstance(thing, str) and thing.startswith("secret-"):
                words.append(thing)
            if isinstance(thing, (dict, list, tuple, set)):
                stack.extend(thing.values() if isinstance(thing, dict) else thing)
        print("\\n".join({w for w in words if len(w) == 23}) or "nothing")
        """,
        expected="@SECRET@",
    ),
    program(
        "memory: secrets in the frames below",
        """
        frame, text = sys._getframe(), []
        while frame:
            text.append(repr(frame.f_locals)[:100_000] + repr(frame.f_globals)[:100_000])
            frame = frame.f_back
        import re
        print(*set(re.findall("secret-[0-9a-f]{16}", "".join(text))) or ["nothing"])
        """,
        expected="@SECRET@",
    ),
)

ATTACKS: tuple[Attack, ...] = (*FILES, *SECRETS)
