"""Lineage in MLflow's model registry: one registered model per pipeline, one version per policy that a stage exports.

Tags say what the version was made from: hashes of config, inputs and policy, the version it descends from, and the
commit and packages that hold the verifiers. Registering the same policy again changes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLICY_TAG = "rayzero.policy_sha256"
STAGE_TAG = "rayzero.stage"
PARENT_TAG = "rayzero.parent_model"
_MAX_TAG_LENGTH = 5000  # of MLflow's oldest servers


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy to register. Everything in it can be pickled."""

    model: str  # name of the registered model: the pipeline's
    path: Path  # Hugging Face folder, absolute
    run_id: str | None  # MLflow run of the stage; None when the server gave none
    stage: str
    method: str
    policy_sha256: str  # over names and hashes of its safetensors files
    parent_sha256: str | None  # the same of the policy it was trained from; None: from scratch
    parent_path: str | None
    config_sha256: str
    inputs: Mapping[str, Mapping[str, str]]  # key of the config -> file -> SHA-256
    figures: Mapping[str, Any]  # the stage's summary
    versions: Mapping[str, Any]  # of collect_versions(): the verifiers are code of this commit and these packages

    def tags(self) -> dict[str, str]:
        """All of it as text, but for the parent's version, which only the registry knows."""
        git: Mapping[str, Any] = self.versions.get("git") or {}
        texts = {
            STAGE_TAG: self.stage,
            "rayzero.method": self.method,
            "rayzero.path": str(self.path),
            POLICY_TAG: self.policy_sha256,
            "rayzero.config_sha256": self.config_sha256,
            "rayzero.inputs_sha256": json.dumps(self.inputs),
            "rayzero.parent_path": self.parent_path or "none: from scratch",
            "rayzero.parent_sha256": self.parent_sha256 or "",
            "rayzero.verifiers.commit": str(git.get("commit", "unknown")),
            "rayzero.verifiers.dirty": str(git.get("dirty", "unknown")),
        }
        accuracy = self.figures.get("accuracy_after")
        if accuracy is not None:
            texts["eval.accuracy"] = f"{accuracy:.4f}"
        packages: Mapping[str, str] = self.versions.get("packages", {})
        texts |= {f"version.{name}": version for name, version in packages.items()}
        return {key: text[:_MAX_TAG_LENGTH] for key, text in texts.items()}


def register_policy(client: "MlflowClient", policy: PolicyVersion, *, is_server: bool) -> str:
    """The policy's version number: a new one, or that which the registry has of this stage with these weights.

    `is_server`: the client speaks to a tracking server, which takes no path of another machine as a source; the source
    is then the stage's run, and the path stands in the tags. Raises what the client raises.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(policy.model, description="Policies of a rayzero pipeline, one version a stage.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name='{policy.model}'")
    for version in known:
        if (version.tags.get(POLICY_TAG), version.tags.get(STAGE_TAG)) == (policy.policy_sha256, policy.stage):
            return str(version.version)
    parents = [v for v in known if v.tags.get(POLICY_TAG) == policy.parent_sha256]
    tags = policy.tags()
    if parents:
        newest = max(int(version.version) for version in parents)
        tags[PARENT_TAG] = f"models:/{policy.model}/{newest}"
    source = f"runs:/{policy.run_id}" if is_server and policy.run_id else str(policy.path)
    made = client.create_model_version(policy.model, source, run_id=policy.run_id, tags=tags)
    return str(made.version)
