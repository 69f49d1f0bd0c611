"""Settings of every test run: no network beyond this machine, no usage reports, and no test without a tier."""

import os
from collections.abc import Iterable, Iterator

import pytest

TIERS = {"unit", "integration", "gpu"}

# Before any test imports ray or transformers: both read these once.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux: every Ray service of a local cluster stays on 127.0.0.1
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
os.environ.pop("RAY_ADDRESS", None)  # a test must never join a cluster that somebody works on


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Refuse the whole run when a test names no tier, because `make test` would silently leave it out."""
    untiered = [item.nodeid for item in items if not TIERS & {marker.name for marker in item.iter_markers()}]
    if untiered:
        raise pytest.UsageError(
            f"{len(untiered)} tests carry none of the markers {', '.join(sorted(TIERS))}, first {untiered[0]}: "
            "put `pytestmark = pytest.mark.unit` (or another tier) at the top of the file."
        )


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for every test that needs it, with more logical CPUs than the machine has: the actors are small."""
    import ray

    from cli.cluster import start_ray
    from configs.engines import Cluster

    start_ray(Cluster(cpus=8, object_store_mib=128))
    yield
    ray.shutdown()
