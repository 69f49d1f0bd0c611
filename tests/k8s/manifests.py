"""Manifests as a cluster would get them, and the schemas they must meet."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
SCHEMAS = ROOT.parent / "shared" / "k8s-schemas"  # KubeRay's own, for whoever has them beside the project
KUBERNETES_VERSION = "1.37"

Manifest = dict[str, Any]


@cache
def rendered(kustomization: str) -> list[Manifest]:
    """What `kubectl apply -k k8s/KUSTOMIZATION` would send."""
    command = [shutil.which("kubectl") or "kubectl", "kustomize", str(K8S / kustomization)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def plain() -> list[Manifest]:
    """Every object of every file that is no kustomization and no patch."""
    documents = [d for file in sorted(K8S.rglob("*.yaml")) for d in yaml.safe_load_all(file.read_text("utf-8"))]
    return [d for d in documents if isinstance(d, dict) and d["kind"] != "Kustomization"]


def find(manifests: list[Manifest], kind: str) -> Manifest:
    (manifest,) = [m for m in manifests if m["kind"] == kind]
    return manifest


def ray_clusters(manifests: list[Manifest]) -> list[Manifest]:
    """Specs of all Ray clusters, those of jobs too."""
    specs = [m["spec"] for m in manifests if m["kind"] == "RayCluster"]
    return specs + [m["spec"]["rayClusterSpec"] for m in manifests if "rayClusterSpec" in m.get("spec", {})]


def pod_specs(manifests: list[Manifest]) -> list[Manifest]:
    """Every pod template inside Ray's resources, the submitter's too."""
    groups = [g for spec in ray_clusters(manifests) for g in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    submitters = [m["spec"]["submitterPodTemplate"] for m in manifests if m["kind"] == "RayJob"]
    return [template["spec"] for template in (*(g["template"] for g in groups), *submitters)]


def closed(schema: Any) -> Any:
    """The same schema with unknown fields refused wherever it lists the known ones."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    lists_fields = isinstance(schema.get("properties"), dict) and "type" in schema
    if lists_fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    return schema


def problems(manifest: Manifest) -> list[str]:
    """What a strict API server would refuse."""
    if manifest["apiVersion"] != "ray.io/v1":
        try:
            kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{manifest['kind']}: {error.message}"]
        return []
    schema = closed(json.loads((SCHEMAS / f"ray.io_v1_{manifest['kind']}.json").read_text("utf-8")))
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)]
