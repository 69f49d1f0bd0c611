"""The sandbox in pods of its own: nothing to gain for a program that breaks out, and started as the command allows."""

import shutil
from typing import Any

import pytest
import typer.main

from cli.sandbox import app
from tests.k8s.manifests import Manifest, find, problems, rendered

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH; nothing renders"),
]


def pod() -> dict[str, Any]:
    return find(rendered("sandbox"), "Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return only


def given(option: str) -> str:
    (value,) = [argument.partition("=")[2] for argument in container()["args"] if argument.startswith(f"{option}=")]
    return value


def test_manifests_meet_their_schemas():
    assert [problem for manifest in rendered("sandbox") for problem in problems(manifest)] == []


def test_the_pod_has_no_right_no_token_of_the_cluster_and_nothing_to_write_on():
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    assert find(rendered("sandbox"), "ServiceAccount")["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "sandbox"
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container()["resources"]["limits"]) == {"cpu", "memory"}
    writable = [mount for mount in container()["volumeMounts"] if not mount.get("readOnly")]
    assert [mount["mountPath"] for mount in writable] == ["/tmp"]
    (temporary,) = [volume for volume in spec["volumes"] if volume["name"] == "temporary"]
    assert temporary["emptyDir"]["sizeLimit"]
    assert "hostPath" not in str(spec)


def test_the_token_comes_as_a_file_and_stands_nowhere():
    (secret,) = [volume for volume in pod()["volumes"] if "secret" in volume]
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == secret["name"]]
    assert given("--token-file").startswith(mount["mountPath"] + "/")
    assert "env" not in container()
    assert "Secret" not in {manifest["kind"] for manifest in rendered("sandbox")}


def test_the_command_has_every_option_and_the_tier_that_a_restricted_pod_holds():
    program, group, command, *options = container()["args"]
    assert (program, group, command) == ("rayzero", "sandbox", "serve")
    serve = typer.main.get_command(app).commands["serve"]  # pyright: ignore
    known = {name for parameter in serve.params for name in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= known
    assert given("--isolation") == "portable"
    assert int(given("--workers")) == int(container()["resources"]["limits"]["cpu"])


def test_probes_and_service_lead_to_the_port():
    (port,) = container()["ports"]
    assert port["containerPort"] == int(given("--port"))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"] == {"path": "/health", "port": port["name"]}
    service = find(rendered("sandbox"), "Service")["spec"]
    assert service["type"] == "ClusterIP"
    assert service["ports"] == [{"name": "http", "port": 8400, "targetPort": port["name"]}]
    assert service["selector"] == labels()


def labels() -> Manifest:
    return find(rendered("sandbox"), "Deployment")["spec"]["template"]["metadata"]["labels"]


def test_programs_that_break_out_call_nobody():
    policy = find(rendered("sandbox"), "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"] == labels()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy.get("egress")
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchExpressions": [{"key": "ray.io/cluster", "operator": "Exists"}]}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8400}]
