"""The reward service with real actors and real sandboxes: an actor that dies in the middle loses no verdict."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import ray

from actors.reward_service import RewardService
from configs.rewards import RewardPart, Rewards
from configs.sandbox import Sandbox
from data.records import Completion, Group, Prompt, ScoredGroup

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

GROUPS, GROUP_SIZE = 125, 8
KILLED_AFTER = (20, 60)  # groups scored
DEADLINE_S = 900.0  # seconds on an idle machine; Ray gives its workers the lowest priority
# (program that prints three times its input plus the number of the group, or does not; whether it is right)
PROGRAMS: tuple[tuple[str, bool], ...] = (
    ("print(3 * int(input()) + {n})", True),
    ("print(3 * int(input()) + {n} + 1)", False),
    ("x = int(input())\nprint(x + x + x + {n})", True),
    ("import os\nos._exit(0)", False),
    ("raise ValueError({n})", False),
    ("print(3 * int(input()) +", False),
    ("import sys\nsys.stdout.write(f'{{int(sys.stdin.read()) * 3 + {n}}}\\n')", True),
    ("open('/etc/passwd').read()\nprint(3 * int(input()) + {n})", False),
)
ENDLESS, HUGE = "while True:\n    pass", "x = bytearray(1 << 34)\nprint(3 * int(input()) + {n})"


def program(group: int, member: int) -> tuple[str, bool]:
    """Of a member of a group: the kinds in turn, and now and then one that takes all the time or memory it gets."""
    if (group, member) in ((10, 0), (55, 0), (90, 0)):
        return ENDLESS, False
    if (group, member) in ((20, 2), (70, 2)):
        return HUGE.format(n=group), False
    source, right = PROGRAMS[(group + member) % len(PROGRAMS)]
    return source.format(n=group), right


def group(number: int) -> Group:
    ids = np.array([5], dtype=np.int32)
    completions = tuple(
        Completion(ids, ids.astype(np.float32), ids, f"```python\n{program(number, i)[0]}\n```", "stop")
        for i in range(GROUP_SIZE)
    )
    tests = [{"stdin": f"{x}\n", "stdout": f"{3 * x + number}\n"} for x in (1, 20)]
    return Group(number, Prompt(f"p{number}", ids, "?", {"tests": tests}), completions, "rollout-0", 0.0)


async def test_every_one_of_a_thousand_programs_gets_its_verdict_once_though_actors_die(tmp_path: Path) -> None:
    rewards = Rewards(
        parts=(RewardPart(type="code"),),
        actors=2,
        groups_per_actor=4,
        timeout_s=120,
        retries=3,
        sandbox=Sandbox(cpu_s=1, wall_s=30, memory_mib=256, workers=1),
    )
    service = RewardService(rewards, 8, tmp_path)
    scored: list[ScoredGroup] = []
    killed: list[str] = []

    async def score(number: int) -> None:
        scored.append(await service.score(group(number)))
        if len(killed) < len(KILLED_AFTER) and len(scored) >= KILLED_AFTER[len(killed)]:
            victim = max(service._actors, key=lambda actor: actor.groups)  # pyright: ignore[reportPrivateUsage]
            assert victim.groups, "it dies in the middle of its work"
            killed.append(victim.name)
            ray.kill(victim.handle)

    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(score(number) for number in range(GROUPS)))
        retries = service.metrics()["reward/retries"]
    finally:
        await service.close()

    assert len(set(killed)) == len(KILLED_AFTER)
    assert retries >= len(KILLED_AFTER)
    assert sorted(one.group.group_id for one in scored) == list(range(GROUPS))
    wrong = [
        (one.group.group_id, member, verdict)
        for one in scored
        for member, verdict in enumerate(one.verdicts)
        if verdict.outcome != "ok" or verdict.correct is not program(one.group.group_id, member)[1]
    ]
    assert wrong == []
    assert sum(len(one.verdicts) for one in scored) == GROUPS * GROUP_SIZE
