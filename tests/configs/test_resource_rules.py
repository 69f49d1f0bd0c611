"""Whether nodes hold a run: in sum, each process on one node, and on nodes with the right labels."""

from pathlib import Path

import pytest
from ray._private.label_utils import validate_label_selector

from configs.derived import Demand
from configs.load import ConfigError, load_run
from configs.resource_rules import Node, check_resources, shortfalls
from configs.run import AnyRun

pytestmark = pytest.mark.unit
CONFIGS = Path(__file__).parents[2] / "configs"


def load(recipe: str, *overrides: str) -> AnyRun:
    return load_run(CONFIGS / f"{recipe}.yaml", list(overrides), check_paths=False)


def test_a_machine_that_is_too_small_gets_the_shortfall_of_each_part():
    with pytest.raises(ConfigError) as caught:
        check_resources(load("math_8gpu"), [Node(4, 2)])
    assert caught.value.problems == (
        "CPUs = 20: this machine offers 4, 16 short (learner 4 x 2, rollout 4 x 2, rewards 2 x 2); "
        "lower these, or raise cluster.cpus",
        "GPUs = 8: this machine offers 2, 6 short (learner 4 x 1, rollout 4 x 1); lower these, or add GPUs",
    )
    check_resources(load("math_8gpu"), [Node(20, 8)])


def test_a_cluster_that_is_too_small_is_not_told_to_raise_what_a_local_ray_reads():
    (problem,) = shortfalls(load("math_8gpu", "cluster.cpus=64"), [Node(4, 4), Node(8, 4)], joined=True)
    assert problem.startswith("CPUs = 20: the cluster offers 12, 8 short")
    assert problem.endswith("lower these, or add CPUs")


def test_an_sft_run_without_evaluation_demands_no_engines(tmp_path: Path):
    stage = "{traces: {type: addition}, steps: 5, sequences_per_step: 7, optimizer: {type: adamw, learning_rate: 1e-3}}"
    head = ["method: sft", "name: s", "policy: {type: scratch, vocabulary: characters}", f"stages: [{stage}]"]
    (tmp_path / "sft.yaml").write_text("\n".join(head))
    check_resources(load_run(tmp_path / "sft.yaml"), [Node(1, 0)])


def test_the_reference_model_counts_only_when_it_runs():
    with_reference = load("demo", "algorithm.kl={type: k3, coefficient: 0.1}", "cold_start=[]")
    with pytest.raises(ConfigError, match="reference 1 x 1"):
        check_resources(with_reference, [Node(2, 0)])
    check_resources(load("demo"), [Node(2, 0)])


def test_a_process_must_fit_one_node_however_much_there_is_in_sum():
    run = load("math_64gpu_zero3")  # engines of two GPUs
    assert shortfalls(run, [Node(256, 8)] * 8, joined=True) == []
    (problem,) = shortfalls(run, [Node(32, 1)] * 64, joined=True)
    assert problem.startswith("rollout = 24 x (4 CPUs, 2 GPUs): each must fit on one node")
    assert "hold 0 of them" in problem


def test_labels_that_no_node_has_are_named():
    run = load("demo", "rollout.node_labels.rayzero-group=rollouts")
    with pytest.raises(
        ConfigError, match=r"rollout\.node_labels = \{rayzero-group: rollouts\}: no node of this machine"
    ):
        check_resources(run, [Node(8, 0)])
    check_resources(run, [Node(1, 0), Node(1, 0, {"rayzero-group": "rollouts"})], joined=True)


def test_nodes_with_the_label_must_hold_the_part_that_asks_for_it():
    run = load("demo", "rollout.node_labels.rayzero-group=rollouts", "rollout.workers=3")
    (problem,) = shortfalls(run, [Node(8, 0), Node(2, 0, {"rayzero-group": "rollouts"})], joined=True)
    assert problem.startswith("rollout = 3 x (1 CPUs, 0 GPUs)")
    assert "the nodes of the cluster with rayzero-group: rollouts hold 2 of them" in problem


@pytest.mark.parametrize("recipe", ["math_8gpu", "math_64gpu_zero3"])
def test_recipes_for_clusters_run_without_labels_and_keep_to_their_groups_with_them(recipe: str):
    run = load(recipe)
    assert shortfalls(run, [Node(256, 8)] * 8, joined=True) == []
    groups = [("rollouts", 6), ("learners", 2)]
    gpus = [Node(64, 8, {"rayzero-group": name}) for name, count in groups for _ in range(count)]
    assert shortfalls(run, [*gpus, Node(16, 0, {"rayzero-group": "rewards"})], joined=True) == []
    (problem,) = shortfalls(run, [Node(64, 8, {"rayzero-group": "rollouts"})] * 8, joined=True)[:1]
    assert problem.startswith("learner.node_labels = {rayzero-group: !rollouts}: no node of the cluster")


@pytest.mark.parametrize(
    ("selector", "takes"),
    [
        ("a", {"a": True, "b": False, None: False}),
        ("!a", {"a": False, "b": True, None: True}),
        ("in(a, b)", {"a": True, "b": True, "c": False, None: False}),
        ("in(a,b)", {"a": True, "b": True, "c": False}),
        ("!in(a, b)", {"a": False, "b": False, "c": True, None: True}),
        ("in(a)", {"a": True, "b": False}),
    ],
)
def test_selectors_mean_what_they_mean_to_ray(selector: str, takes: dict[str | None, bool]):
    assert validate_label_selector({"zone": selector}) is None, "Ray reads it"
    for value, taken in takes.items():
        node = Node(1, 0, {} if value is None else {"zone": value})
        assert node.has({"zone": selector}) is taken, (selector, value)


def test_every_selector_must_take_the_node():
    node = Node(4, 0, {"zone": "a", "disk": "fast"})
    assert node.has({"zone": "a", "disk": "!slow"})
    assert not node.has({"zone": "a", "disk": "slow"})


def test_shares_of_a_gpu_are_counted_without_rounding_errors():
    assert Node(4, 1).holds(Demand("learner", 1, 0.1, 0.1)) == 10
    assert Node(0.3, 0).holds(Demand("rewards", 3, 0.1, 0)) == 3
    assert Node(4, 0).holds(Demand("rewards", 7, 0, 0)) == 7
