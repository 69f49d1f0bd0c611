"""A cluster that runs already must hold the run: at once, or within the time that the config gives it."""

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.autoscaler import sdk

from cli import cluster
from cli.cluster import await_resources, joins
from configs.engines import Cluster
from configs.errors import ConfigError
from configs.load import load_run
from configs.run import AnyRun

pytestmark = pytest.mark.unit
DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


class FakeRay:
    """A cluster whose nodes join as time passes: `joining[i]` is there from second i on. Sleeping passes the time."""

    def __init__(self, *joining: dict[str, Any]) -> None:
        self.joining = joining
        self.now = 0.0
        self.slept = 0.0
        self.left = False
        self.requests: list[tuple[Any, Any]] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [node for at, node in enumerate(self.joining) if at <= self.now]

    def shutdown(self) -> None:
        self.left = True

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def request_resources(self, bundles: list[Any], bundle_label_selectors: list[Any] | None = None) -> None:
        self.requests.append((bundles, bundle_label_selectors))


def node(cpus: float, *, alive: bool = True, **labels: str) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": 1.0} if cpus else {}, "Labels": labels}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    def install(*joining: dict[str, Any]) -> FakeRay:
        fake = FakeRay(*joining)
        monkeypatch.setattr(ray, "nodes", fake.nodes)
        monkeypatch.setattr(ray, "shutdown", fake.shutdown)
        monkeypatch.setattr(sdk, "request_resources", fake.request_resources)
        monkeypatch.setattr(cluster, "time", fake)
        return fake

    return install


def demo(*overrides: str) -> AnyRun:
    """Two processes of one CPU."""
    return load_run(DEMO, ["cluster.address=auto", *overrides])


def test_a_cluster_that_holds_the_run_is_asked_for_nothing(install):
    fake = install(node(0), node(1), node(1))
    fake.now = 2.0
    await_resources(demo("cluster.wait_for_resources_s=60"))
    assert (fake.slept, fake.requests, fake.left) == (0, [], False)


def test_without_patience_what_is_missing_ends_the_run_at_once_and_ray_is_left(install):
    fake = install(node(0), node(1))
    fake.now = 1.0
    with pytest.raises(ConfigError, match=r"CPUs = 2: the cluster offers 1, 1 short \(learner 1 x 1, rollout 1 x 1\)"):
        await_resources(demo())
    assert fake.left, "so that the command ends with the code of a mistake in the call"
    assert (fake.slept, fake.requests) == (0, [])


def test_dead_nodes_offer_nothing(install):
    install(node(8, alive=False))
    with pytest.raises(ConfigError, match="the cluster offers 0"):
        await_resources(demo())


def test_nodes_that_join_in_time_are_waited_for_and_the_autoscaler_is_told_while_it_lasts(install):
    fake = install(node(0), node(1), node(0), node(0), node(0), node(1, zone="b"))
    await_resources(demo("cluster.wait_for_resources_s=60", "rollout.node_labels.zone=b"))
    assert 5 <= fake.slept <= 5 + cluster.NODE_POLL_S
    assert fake.requests == [([{"CPU": 1}, {"CPU": 1}], [{}, {"zone": "b"}]), ([], None)]
    assert not fake.left


def test_the_wait_has_a_deadline_and_withdraws_its_request(install):
    fake = install(node(1))
    with pytest.raises(ConfigError, match="1 short"):
        await_resources(demo("cluster.wait_for_resources_s=5"))
    assert fake.slept == 5
    assert fake.requests[-1] == ([], None)
    assert fake.left


@pytest.mark.parametrize(
    ("address", "environment", "joined"),
    [("local", {}, False), ("auto", {}, True), ("local", {"RAY_JOB_SUBMISSION_ID": "x"}, True)],
)
def test_a_submitted_job_joins_whatever_the_config_says(monkeypatch, address, environment, joined):
    for name in ("RAY_ADDRESS", "RAY_JOB_SUBMISSION_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert joins(Cluster(address=address)) is joined
