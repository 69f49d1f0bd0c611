"""The graders' cases of open math suites, which lie beside the project and are no part of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rewards.math import MathReward
from rewards.sample import Sample

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
CASES = Path(__file__).parents[3] / "shared" / "peer-suites" / "math.jsonl"
AGREEMENT = 0.97


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def verifier() -> AsyncIterator[MathReward]:
    reward = MathReward(timeout_s=2.0, workers=2)
    await reward.start()
    yield reward
    await reward.close()


@pytest.mark.skipif(not CASES.exists(), reason=f"no {CASES}: the suites of other graders are not kept in the project")
async def test_what_other_graders_agree_on_is_judged_alike(verifier: MathReward):
    cases: list[dict[str, Any]] = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]

    async def differs(case: dict[str, Any]) -> tuple[str, str, bool] | None:
        response = case["pred"] if case["kind"] == "response" else rf"\boxed{{{case['pred']}}}"
        score = await verifier(Sample("", response, {"answer": case["gold"]}))
        return None if (score.value == 1.0) is case["expected"] else (case["gold"], case["pred"], case["expected"])

    differing = [found for found in await asyncio.gather(*map(differs, cases)) if found is not None]
    assert len(cases) > 200
    assert 1 - len(differing) / len(cases) >= AGREEMENT, differing
