"""A program that attacks the walls it runs behind. The self-test runs its text in a real child and reads the report.

Standard input: JSON with `pid` (of the service), `secret` (a file that everybody may read), `folder` (where everybody
may write), `port` and `abstract` (listeners of the service), `memory_bytes`. Output: JSON, wall -> attack -> what got
through, empty when the wall held.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any


def _forks(_: dict[str, Any]) -> str:
    if os.fork() == 0:
        os._exit(0)
    return "fork"


def _network(asked: dict[str, Any]) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.settimeout(1)
        tcp.connect(("127.0.0.1", asked["port"]))
    return "TCP to the service's host"


def _abstract_sockets(asked: dict[str, Any]) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
        unix.settimeout(1)
        unix.connect("\0" + asked["abstract"])
    return "an abstract Unix socket of the service's host"


def _reads(path: str) -> str:
    with open(path, "rb") as file:
        file.read(1)
    return f"reading {path}"


def _lists(path: str) -> str:
    """An own, empty /proc may be listed; one with processes may not."""
    return f"listing {path}" if os.listdir(path) else ""


def _writes(asked: dict[str, Any]) -> str:
    with open(os.path.join(asked["folder"], "written"), "w") as file:
        file.write("out")
    return f"writing to {asked['folder']}"


def _scratch(_: dict[str, Any]) -> str:
    total = 0
    for number in range(64):
        with open(f"fill{number}", "wb") as file:
            total += file.write(bytes(1 << 20))
    return f"{total} bytes of files"


def _signals(asked: dict[str, Any]) -> str:
    os.kill(asked["pid"], 0)
    return "a signal to the service"


def _descriptors(_: dict[str, Any]) -> str:
    found: list[int] = []
    for number in range(3, 256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return f"inherited descriptors {found}" if found else ""


def _memory(asked: dict[str, Any]) -> str:
    kept = bytearray(2 * asked["memory_bytes"] + (1 << 29))
    return f"{len(kept)} bytes of memory"


# Wall -> what is tried on it, by a name for people.
PROBES: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {
    "processes": {"fork": _forks},
    "network": {"connect to a TCP port of the service": _network, "connect to an abstract socket": _abstract_sockets},
    "files": {
        "read a file that everybody may read": lambda asked: _reads(asked["secret"]),
        "read /etc/passwd": lambda _: _reads("/etc/passwd"),
        "read the service's environment": lambda asked: _reads(f"/proc/{asked['pid']}/environ"),
        "read /proc/self/mem": lambda _: _reads("/proc/self/mem"),
        "list /proc": lambda _: _lists("/proc"),
        "list /sys": lambda _: _lists("/sys"),
        "list /home": lambda _: _lists("/home"),
    },
    "writing": {"write where everybody may write": _writes},
    "scratch": {"fill the temporary files": _scratch},
    "signals": {"send a signal to the service": _signals},
    "descriptors": {"find inherited descriptors": _descriptors},
    "environment": {"read an environment variable": lambda _: "an environment variable" if os.environ else ""},
    "user": {"be root": lambda _: "being root" if 0 in (os.getuid(), os.geteuid(), os.getgid()) else ""},
    "memory": {"take twice the memory": _memory},
}


def main() -> None:
    """Try everything, report, and last try what ends the process where it succeeds."""
    asked = json.load(sys.stdin)
    report: dict[str, dict[str, str]] = {}
    for wall, probes in PROBES.items():
        report[wall] = {}
        for name, probe in probes.items():
            try:
                report[wall][name] = probe(asked)
            except (OSError, MemoryError):
                report[wall][name] = ""
    try:
        os.execv("/bin/true", ["true"])
    except OSError:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
