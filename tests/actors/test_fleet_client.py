"""The sender's fan-out: who is called with what, who is left out, and how long it waits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError

from actors import fleet_client
from actors.fleet_client import FleetClient, Member, TransferPlan

pytestmark = pytest.mark.unit

Action = Callable[..., Any]


class Handle:
    """A rollout worker that notes its calls. `plan[method]` gives the answer, raises, or returns HANGS."""

    def __init__(self, name: str, journal: list[tuple[str, str, tuple[Any, ...]]], **plan: Action) -> None:
        self.name, self._journal, self._plan = name, journal, plan

    def __getattr__(self, method: str) -> Any:
        def remote(*args: Any) -> Action:
            self._journal.append((self.name, method, args))
            return lambda: self._plan.get(method, lambda *_: 0.5)(*args)

        return type("Method", (), {"remote": staticmethod(remote)})


HANGS = object()


class Clock:
    """Ray's `get` and `put`, and the time, which passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stored: list[Any] = []

    def monotonic(self) -> float:
        return self.now

    def get(self, reference: Action, timeout: float) -> Any:
        answer = reference()
        if answer is HANGS:
            self.now += timeout
            raise GetTimeoutError(f"nothing for {timeout} s")
        return answer

    def put(self, value: Any) -> str:
        self.stored.append(value)
        return f"blob-{len(self.stored)}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fleet_client, "ray", clock)
    monkeypatch.setattr(fleet_client, "time", clock)
    return clock


def dies(*_: Any) -> Any:
    raise ActorDiedError()


def hangs(*_: Any) -> Any:
    return HANGS


Journal = list[tuple[str, str, tuple[Any, ...]]]


def client(backend: str, *members: tuple[Handle, str, int], timeout_s: float = 10.0) -> FleetClient:
    plan = TransferPlan(backend, tuple(Member(h.name, h, node, n) for h, node, n in members), "host", 1, "/", timeout_s)
    return FleetClient(plan, node="here")


def test_each_engine_process_has_a_rank_of_its_own_in_the_nccl_group(clock: Clock):
    journal: Journal = []
    workers = [(Handle(f"w{n}", journal), "here", processes) for n, processes in enumerate((1, 2, 4, 1))]
    client("nccl", *workers).init_weight_transfer_engine({"rank_offset": 1, "world_size": 9})
    assert [args[0] for _, _, args in journal] == [{"rank_offset": offset, "world_size": 9} for offset in (1, 2, 4, 8)]


def test_without_ranks_every_worker_gets_the_same(clock: Clock):
    journal: Journal = []
    client("host", (Handle("a", journal), "here", 1), (Handle("b", journal), "there", 1)).init_weight_transfer_engine(
        {"names": ["x"]}
    )
    assert journal == [(name, "init_weight_transfer", ({"names": ["x"]},)) for name in "ab"]


def test_a_transfer_that_not_everybody_opens_is_not_opened(clock: Clock):
    journal: Journal = []
    broken = Handle("b", journal, init_weight_transfer=dies)
    with pytest.raises(RuntimeError, match=r"could not be opened.*'b': 'ActorDiedError"):
        client("host", (Handle("a", journal), "here", 1), (broken, "here", 1)).init_weight_transfer_engine({})


def update(it: FleetClient, path: str = "/nowhere") -> None:
    it.version = 7
    it.start_weight_update()
    it.update_weights({"path": path})
    it.finish_weight_update()


def test_an_update_opens_loads_and_closes_with_the_version_and_reports_the_pauses(clock: Clock):
    journal: Journal = []
    it = client("host", (Handle("a", journal, finish_weight_update=lambda _: 0.25), "here", 1))
    update(it)
    assert journal == [
        ("a", "start_weight_update", ()),
        ("a", "update_weights", ({"path": "/nowhere"},)),
        ("a", "finish_weight_update", (7,)),
    ]
    assert it.take_report() == {"pauses_s": {"a": 0.25}, "failures": {}}
    assert it.take_report() == {"pauses_s": {}, "failures": {}}, "each update has a report of its own"


@pytest.mark.parametrize("phase", ["start_weight_update", "update_weights", "finish_weight_update"])
def test_a_worker_that_fails_is_left_out_from_then_on_and_the_others_go_on(clock: Clock, phase: str):
    journal: Journal = []
    it = client("host", (Handle("a", journal, **{phase: dies}), "here", 1), (Handle("b", journal), "here", 1))
    update(it)
    report = it.take_report()
    assert report["pauses_s"] == {"b": 0.5}
    assert report["failures"]["a"].startswith("ActorDiedError")
    assert [method for name, method, _ in journal if name == "a"][-1] == phase


def test_when_nobody_takes_the_version_the_update_failed_with_the_causes(clock: Clock):
    it = client("host", (Handle("a", [], update_weights=dies), "here", 1))
    with pytest.raises(RuntimeError, match=r"no rollout worker took version 7: .*'a': 'ActorDiedError"):
        update(it)


def test_with_nccl_one_failure_breaks_the_group(clock: Clock):
    it = client("nccl", (Handle("a", [], start_weight_update=dies), "here", 1), (Handle("b", []), "here", 1))
    with pytest.raises(RuntimeError, match="worker a broke the nccl group"):
        it.start_weight_update()


def test_a_worker_that_hangs_costs_one_deadline_and_the_others_are_not_failed_for_it(clock: Clock):
    journal: Journal = []
    it = client(
        "host",
        (Handle("a", journal, start_weight_update=hangs), "here", 1),
        (Handle("b", journal, start_weight_update=hangs), "here", 1),
        (Handle("c", journal), "here", 1),
        timeout_s=10,
    )
    update(it)
    assert clock.now == 110
    report = it.take_report()
    assert set(report["failures"]) == {"a", "b"}
    assert set(report["pauses_s"]) == {"c"}


def test_the_file_is_stored_once_for_all_other_nodes_and_never_for_this_one(clock: Clock, tmp_path: Path):
    (tmp_path / "slot").write_bytes(b"weights")
    journal: Journal = []
    nodes = {"a": "here", "b": "there", "c": "elsewhere"}
    it = client("host", *[(Handle(name, journal), node, 1) for name, node in nodes.items()])
    update(it, str(tmp_path / "slot"))
    sent = {name: args[1:] for name, method, args in journal if method == "update_weights"}
    assert sent == {"a": (), "b": ("blob-1",), "c": ("blob-1",)}
    np.testing.assert_array_equal(clock.stored[0], np.frombuffer(b"weights", dtype=np.uint8))
    update(it, str(tmp_path / "slot"))
    assert len(clock.stored) == 2, "the next update is read anew"


def test_workers_on_this_node_alone_store_nothing(clock: Clock):
    it = client("host", (Handle("a", []), "here", 1))
    update(it, "/no/such/file")
    assert clock.stored == []
