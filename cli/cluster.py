"""Ray for a run: started here on the loopback address, or joined."""

import logging
import os
import time
from pathlib import Path

from configs.derived import demands
from configs.engines import Cluster
from configs.errors import ConfigError
from configs.resource_rules import Node, shortfalls
from configs.run import AnyRun

log = logging.getLogger(__name__)

NODE_POLL_S = 2.0  # Ray tells of a node that joins by no event
ADDRESS_FILE = "ray_address"  # in a run's folder while it goes on
# On Linux this makes every Ray service of a local cluster listen on 127.0.0.1 alone.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "HF_HUB_OFFLINE": "1"}


def joins(cluster: Cluster) -> bool:
    """Whether a cluster that runs already is used: by the config, or because this is a submitted job."""
    return cluster.address == "auto" or "RAY_ADDRESS" in os.environ or "RAY_JOB_SUBMISSION_ID" in os.environ


def set_environment(*, loopback: bool) -> None:
    """Settings that Ray reads once, when it is imported: call this before any module that imports it."""
    os.environ |= QUIET | LOOPBACK_ONLY if loopback else QUIET
    if loopback:
        # A local Ray makes itself a token; a second terminal presents it only when it is told to.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


class RayNotStarted(ConnectionError):
    """No Ray to join, or none can be started here."""


def start_ray(cluster: Cluster) -> str:
    """Start or join Ray; returns the address for other terminals. Raises RayNotStarted."""
    joining = joins(cluster)
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    try:
        _init(cluster, joining=joining)
    except Exception as error:  # Ray raises a bare Exception when a node does not come up within its 30 s
        ray.shutdown()
        advice = "is the cluster up?" if joining else "look for other programs on this machine's cores, and at /tmp/ray"
        raise RayNotStarted(f"{'no Ray to join' if joining else 'Ray did not start'}: {error}; {advice}") from error
    return ray.get_runtime_context().gcs_address


def _init(cluster: Cluster, *, joining: bool) -> None:
    import ray

    if joining:
        ray.init(address="auto", namespace="rayzero", log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        address="local",
        namespace="rayzero",
        num_cpus=local_cpus(cluster),
        object_store_memory=cluster.object_store_mib * 2**20,
        include_dashboard=cluster.dashboard,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def await_resources(run: AnyRun) -> None:
    """Return when the cluster that was joined holds the run: at once, or within `cluster.wait_for_resources_s`.

    Raises ConfigError with what is missing, after leaving Ray. Without this, actors that fit nowhere would wait for
    their start's deadline, and the cause would be guesswork.
    """
    import ray

    wait_s = run.cluster.wait_for_resources_s
    deadline = time.monotonic() + wait_s
    missing = shortfalls(run, _nodes(), joined=True)
    if missing and wait_s:
        log.warning("waiting up to %g s for nodes; missing now: %s", wait_s, "; ".join(missing))
        missing = _wait_for_nodes(run, deadline)
    if missing:
        ray.shutdown()
        raise ConfigError("resources", missing)


def _wait_for_nodes(run: AnyRun, deadline: float) -> list[str]:
    """What is still missing at the deadline. Meanwhile the autoscaler, which acts on demand alone, is told of it."""
    from ray.autoscaler.sdk import request_resources

    wanted = [d for d in demands(run) if d.cpus or d.gpus for _ in range(d.processes)]
    request_resources(
        bundles=[{name: n for name, n in (("CPU", d.cpus), ("GPU", d.gpus)) if n} for d in wanted],
        bundle_label_selectors=[dict(demand.labels) for demand in wanted],
    )
    try:
        while (missing := shortfalls(run, _nodes(), joined=True)) and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(NODE_POLL_S, left_s))
    finally:
        request_resources(bundles=[])  # from here on the actors are the demand
    return missing


def _nodes() -> list[Node]:
    """The nodes of the cluster that are alive."""
    import ray

    return [
        Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0), node["Labels"])
        for node in ray.nodes()
        if node["Alive"]
    ]


def join_ray(address: str) -> None:
    """Join the cluster of a run that is going on, from another terminal."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    ray.init(address=address, namespace="rayzero", log_to_driver=False, logging_level=logging.ERROR)


def local_cpus(cluster: Cluster) -> int:
    """CPUs that a local Ray may hand out."""
    return cluster.cpus or len(os.sched_getaffinity(0))


def local_gpus() -> int:
    """GPUs of this machine, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip()])
    return len([name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()])


def read_ray_address(folder: Path) -> str:
    """Address of the cluster of a run that is going on. Raises ValueError when none is."""
    path = folder / ADDRESS_FILE
    if not path.exists():
        raise ValueError(f"{folder} has no run that is going on (no file {path.name}); look at the name, or start it")
    return path.read_text()
