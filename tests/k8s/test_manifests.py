"""Manifests meet their schemas, and keep the rules that keep a cluster safe and a job from hanging."""

import copy
import shlex
import shutil
from typing import Any

import pytest

from configs.derived import demanded_cpus, demanded_gpus
from configs.load import load_run
from configs.resource_rules import Node, shortfalls
from tests.k8s.manifests import (
    ROOT,
    SCHEMAS,
    Manifest,
    find,
    plain,
    pod_specs,
    problems,
    ray_clusters,
    rendered,
)

KUSTOMIZATIONS = ["base", "job", "cpu"]
pytestmark = pytest.mark.unit
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH; nothing renders")
needs_schemas = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="KubeRay's schemas are not beside the project")


def gibibytes(quantity: str) -> float:
    units = {"Gi": 1.0, "Ti": 1024.0, "Mi": 1 / 1024}
    return float(quantity[:-2]) * units[quantity[-2:]]


def offered(cluster: Manifest, resource: str) -> float:
    """Of all workers at the replicas that the cluster starts with."""
    return sum(
        group["replicas"] * float(group["template"]["spec"]["containers"][0]["resources"]["limits"].get(resource, 0))
        for group in cluster["workerGroupSpecs"]
    )


@needs_schemas
def test_plain_manifests_meet_their_schemas():
    assert {m["kind"] for m in plain()} >= {"RayCluster", "RayJob", "NetworkPolicy", "PersistentVolumeClaim"}
    assert [problem for manifest in plain() for problem in problems(manifest)] == []


@needs_schemas
@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_rendered_manifests_meet_their_schemas(kustomization: str):
    assert [problem for manifest in rendered(kustomization) for problem in problems(manifest)] == []


@needs_schemas
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("RayCluster", "spec.headGroupSpec.numCpus"),
        ("RayCluster", "spec.headGroupSpec.template.spec.securityContexts"),
        ("RayJob", "spec.backOffLimit"),
        ("NetworkPolicy", "spec.ingres"),
    ],
)
def test_an_unknown_field_is_refused(kind: str, path: str):
    manifest = copy.deepcopy(find([m for m in plain() if m["metadata"]["name"] != "sandbox"], kind))
    *parents, field = path.split(".")
    target: Any = manifest
    for parent in parents:
        target = target[parent]
    target[field] = 1
    assert problems(manifest)


@needs_kubectl
def test_a_job_brings_its_own_cluster_and_starts_no_second():
    base, job = rendered("base"), rendered("job")
    assert find(job, "RayJob")["spec"]["rayClusterSpec"] == find(base, "RayCluster")["spec"]
    assert "RayCluster" not in {m["kind"] for m in job}


@needs_kubectl
@pytest.mark.parametrize("kustomization", ["job", "cpu"])
def test_a_job_ends_by_itself(kustomization: str):
    spec = find(rendered(kustomization), "RayJob")["spec"]
    assert spec["backoffLimit"] >= 1
    assert 0 < spec["activeDeadlineSeconds"] <= 7 * 86400
    assert spec["shutdownAfterJobFinishes"] is True


@needs_kubectl
@pytest.mark.parametrize("kustomization", ["job", "cpu"])
def test_a_jobs_cluster_meets_the_demand_of_its_recipe(kustomization: str):
    spec = find(rendered(kustomization), "RayJob")["spec"]
    program, command, recipe, *flags = shlex.split(spec["entrypoint"])
    assert (program, command) == ("rayzero", "train")
    assert set(flags) == {"--resume", "--overwrite"}
    run = load_run(ROOT / recipe, check_paths=False)
    cluster = spec["rayClusterSpec"]
    assert offered(cluster, "nvidia.com/gpu") == demanded_gpus(run)
    assert offered(cluster, "cpu") >= demanded_cpus(run) + spec["entrypointNumCpus"]


@needs_kubectl
@pytest.mark.parametrize("kustomization", ["job", "cpu"])
def test_a_jobs_pods_hold_each_process_of_its_recipe_where_its_labels_allow(kustomization: str):
    spec = find(rendered(kustomization), "RayJob")["spec"]
    nodes: list[Node] = []
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = Node(float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)), group["labels"])
        nodes += [node] * group["replicas"]
    run = load_run(ROOT / shlex.split(spec["entrypoint"])[2], check_paths=False)
    assert shortfalls(run, nodes, joined=True) == []


@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_the_head_runs_no_actor_and_has_memory(kustomization: str):
    for cluster in ray_clusters(rendered(kustomization)):
        head = cluster["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0"
        assert gibibytes(head["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]) >= 8
        assert not head.get("enableIngress")


@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_ray_asks_for_a_token_and_knows_its_version(kustomization: str):
    locked = (ROOT / "requirements" / "cpu.txt").read_text("utf-8").splitlines()
    for cluster in ray_clusters(rendered(kustomization)):
        assert cluster["authOptions"]["mode"] == "token"
        assert f"ray=={cluster['rayVersion']}" in locked


@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_every_pod_is_locked_down(kustomization: str):
    specs = pod_specs(rendered(kustomization))
    assert len(specs) == (4 if kustomization == "base" else 5)
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        (container,) = spec["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_shared_memory_is_sized_and_holds_rays_object_store(kustomization: str):
    for cluster in ray_clusters(rendered(kustomization)):
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            spec = group["template"]["spec"]
            (memory,) = [v["emptyDir"] for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
            size = gibibytes(memory["sizeLimit"])
            assert {"name": "shared-memory", "mountPath": "/dev/shm"} in spec["containers"][0]["volumeMounts"]
            assert int(group["rayStartParams"]["object-store-memory"]) / 2**30 < size
            assert size <= gibibytes(spec["containers"][0]["resources"]["limits"]["memory"]) / 2


@needs_kubectl
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_nothing_comes_in_but_the_namespace_and_the_operator(kustomization: str):
    policy = find(rendered(kustomization), "NetworkPolicy")["spec"]
    assert policy["podSelector"] == {}
    within, operator = policy["ingress"]
    assert within == {"from": [{"podSelector": {}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]


def test_each_kind_of_process_has_a_group_and_the_driver_a_place():
    (cluster,) = ray_clusters(plain())
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert set(groups) == {"rollouts", "learners", "rewards"}
    assert {name: group["labels"] for name, group in groups.items()} == {n: {"rayzero-group": n} for n in groups}
    assert [name for name, group in groups.items() if "driver" in group.get("resources", {})] == ["rewards"]


@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_images_install_by_the_lock_and_run_as_the_manifests_user(image: str):
    text = (ROOT / "k8s" / "images" / f"{image}.Dockerfile").read_text("utf-8")
    lock = {"cpu": "requirements/cpu.txt", "gpu": "requirements/gpu-constraints.txt"}[image]
    assert f"COPY --chown=rayzero {lock} {lock}" in text
    assert f"RUN make setup EXTRA={image}" in text
    assert "useradd --uid 1000" in text
    assert "WORKDIR /opt/rayzero" in text
