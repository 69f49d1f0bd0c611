"""The tables of attacks are what they claim to be, and the watch over the host sees what it must."""

import ctypes
import os
import socket
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.sandbox.attacks import sources
from tests.sandbox.attacks.attack import Bait
from tests.sandbox.attacks.gauntlet import ATTACKS, LEGAL
from tests.sandbox.attacks.host import Host, settled_changes

pytestmark = pytest.mark.unit

BAIT = Bait("secret-0123456789abcdef", 2**40 + 1, "zzmark", 1, "/nowhere", "/nowhere/socket", 2)


def test_there_are_many_and_each_has_its_own_name():
    names = Counter([attack.id for attack in ATTACKS] + [program.id for program in LEGAL])
    assert [name for name, count in names.items() if count > 1] == []
    assert len(ATTACKS) >= 60
    assert len(LEGAL) >= 40


def test_no_attack_may_pass_or_escape_its_verdict():
    assert [attack.id for attack in ATTACKS if attack.allowed & {"passed", "infra_error"} or not attack.allowed] == []


def test_every_attack_is_python_unless_that_is_the_attack():
    meant = {attack.id for attack in sources.ATTACKS}
    for attack in ATTACKS:
        if attack.id not in meant and attack.language == "python":
            compile(attack.task(BAIT).source, attack.id, "exec")


def test_no_program_is_told_the_secret():
    assert [attack.id for attack in ATTACKS if BAIT.secret in attack.task(BAIT).source] == []
    assert [attack.id for attack in ATTACKS if str(BAIT.number) in attack.task(BAIT).source] == []


def test_a_process_left_behind_is_seen():
    before = Host.now("zzmark", os.getpid())
    with subprocess.Popen(["sleep", "60"]) as process:
        (change,) = settled_changes(before, settle_s=0)
        assert str(process.pid) in change
        process.kill()
    assert settled_changes(before) == []


def test_a_file_left_behind_is_seen():
    before = Host.now("zzmark", os.getpid())
    handle, path = tempfile.mkstemp(prefix="zzmark", dir="/tmp")
    os.close(handle)
    try:
        (change,) = settled_changes(before, settle_s=0)
        assert Path(path).name in change
    finally:
        os.unlink(path)


def test_a_descriptor_left_behind_is_seen():
    before = Host.now("zzmark", os.getpid())
    with socket.socket():
        (change,) = settled_changes(before, settle_s=0)
        assert "1 more descriptors" in change


def test_shared_memory_left_behind_is_seen():
    libc = ctypes.CDLL(None, use_errno=True)
    before = Host.now("zzmark", os.getpid())
    number = libc.shmget(0, 4096, 0o1666)
    assert number >= 0, os.strerror(ctypes.get_errno())
    try:
        (change,) = settled_changes(before, settle_s=0)
        assert f" {number}" in change
    finally:
        libc.shmctl(number, 0, None)
