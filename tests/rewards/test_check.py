from pathlib import Path

import pytest

from rewards.check import Finding, check_plugin, hostile_responses

pytestmark = pytest.mark.integration
DEADLINE_S = 20.0  # generous: it is paid only where a test says so
PLUGINS = """
import itertools, os, random, threading, time
from rewards.sample import Score

CALLS = itertools.count()
LAST = {}


def good(sample, limit=1000):
    return Score(max(0.0, 1 - len(sample.response) / limit), "brief")


def constant(sample):
    return 0.5


def none_for_empty(sample):
    return len(sample.response) / len(sample.response) if sample.response else None


def raises_on_surrogates(sample):
    return float(len(sample.response.encode()) % 2)


def out_of_range(sample):
    return len(sample.response) / 100


def counts_calls(sample):
    return 1 / (1 + next(CALLS))


def hashes(sample):
    return hash(sample.response) % 1000 / 1000


def shares_state(sample):
    LAST["value"] = len(sample.response) % 100 / 100
    time.sleep(0.02)
    return LAST["value"]


def exits(sample):
    if "os._exit" in sample.response:
        os._exit(7)
    return 0.0


def hangs(sample):
    if not sample.response:
        threading.Event().wait()
    return 0.0


def slow(sample):
    time.sleep(0.11 * (sample.response == ""))
    return float(bool(sample.response))
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked_rewards.py").write_text(PLUGINS)
    (tmp_path / "broken_rewards.py").write_text("raise KeyError('at import')")
    monkeypatch.syspath_prepend(str(tmp_path))


def check(function: str, deadline_s: float = DEADLINE_S, module: str = "checked_rewards") -> list[Finding]:
    return list(check_plugin(f"{module}:{function}", {"answer": "42"}, deadline_s=deadline_s))


def errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "error"]


def test_a_good_plugin_keeps_every_rule():
    findings = check("good")
    assert errors(findings) == []
    assert {finding.rule for finding in findings} == {
        "loads", "scores", "is deterministic", "is safe in threads", "is fast", "pickles", "agrees between actors",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("function", "rule", "detail"),
    [
        ("absent", "loads", "has no function 'absent'"),
        ("none_for_empty", "scores", "an empty response: ValueError"),
        ("raises_on_surrogates", "scores", "unpaired surrogates: UnicodeEncodeError"),
        ("out_of_range", "scores", "finite number in [0, 1]"),
        ("counts_calls", "is deterministic", "draw what is random from the sample"),
        ("hashes", "agrees between actors", "hash order"),
        ("shares_state", "is safe in threads", "keep no state"),
        ("exits", "survives", "(exit code 7) while it scores code"),
    ],
)
def test_a_broken_rule_is_named_with_the_response_that_broke_it(function: str, rule: str, detail: str):
    broken = errors(check(function))
    assert broken
    assert rule in {finding.rule for finding in broken}
    assert any(detail in finding.detail for finding in broken)


def test_a_plugin_that_hangs_is_killed_and_told():
    broken = errors(check("hangs", deadline_s=0.5))
    assert [finding.rule for finding in broken] == ["survives"]
    assert "no answer within 0.5 s while it scores an empty response" in broken[0].detail


def test_a_module_that_raises_at_import_is_told():
    assert "KeyError" in errors(check("f", module="broken_rewards"))[0].detail


def test_slowness_and_sameness_are_warnings():
    warnings = [finding.rule for finding in check("slow") if finding.level == "warning"]
    assert warnings == ["is fast"]
    findings = check("constant")
    assert errors(findings) == []
    assert [finding.rule for finding in findings if finding.level == "warning"] == ["tells apart"]


def test_the_hostile_responses_are_what_they_are_called():
    responses = hostile_responses()
    assert responses["an empty response"] == ""
    assert len(responses["a huge response"]) >= 400_000
    with pytest.raises(UnicodeEncodeError):
        responses["unpaired surrogates"].encode()
