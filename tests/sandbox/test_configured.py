"""The config's section and the sandbox agree on every default, so that neither says something the other does not do."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.sandbox import Sandbox as Section
from sandbox import Sandbox, SandboxLimits, SandboxUnavailable
from sandbox.configured import configured, read_token
from sandbox.limits import MIB
from sandbox.remote import RemoteSandbox

pytestmark = pytest.mark.unit


def test_defaults_are_the_same_on_both_sides() -> None:
    box = configured(Section())
    assert isinstance(box, Sandbox)
    assert box.limits == SandboxLimits()


def test_every_field_arrives() -> None:
    section = Section(
        isolation="portable", workers=3, cpu_s=1.5, wall_s=2.5, memory_mib=64, output_mib=1, scratch_mib=0
    )
    box = configured(section)
    assert isinstance(box, Sandbox)
    assert box.workers == 3
    assert box.limits == SandboxLimits(cpu_s=1.5, wall_s=2.5, memory_bytes=64 * MIB, output_bytes=MIB, scratch_bytes=0)


@pytest.mark.parametrize(
    "wrong", [{"isolation": "none"}, {"isolation": "unsafe-none"}, {"cpu_s": 0}, {"memory_mib": 8}, {"walls": False}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Section.model_validate(wrong)


def test_a_url_makes_it_a_service_with_the_same_limits() -> None:
    section = Section(url="http://sandbox:8400/", token_env="RAYZERO_ABSENT", cpu_s=2.0)
    box = configured(section)
    assert isinstance(box, RemoteSandbox)
    assert box.limits == SandboxLimits(cpu_s=2.0)
    with pytest.raises(ValueError, match="no address"):
        RemoteSandbox("sandbox:8400", lambda: "")


def test_a_token_is_read_from_one_place_and_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("  0123456789abcdef\n")
    monkeypatch.setenv("SOME_TOKEN", "fedcba9876543210")
    assert read_token(tmp_path / "token", None) == "0123456789abcdef"
    assert read_token(None, "SOME_TOKEN") == "fedcba9876543210"
    for token in ("hidden", "hidden 0123456789 with spaces", "hidden-é-0123456789abcdef", ""):
        (tmp_path / "token").write_text(token)
        with pytest.raises(SandboxUnavailable, match="at least 16") as caught:
            read_token(tmp_path / "token", None)
        assert "hidden" not in str(caught.value)
