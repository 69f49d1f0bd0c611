"""What a teacher adds to a supervised batch, and reverse KL as the advantage of the GRPO loop."""

from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
import pytest

from configs.algorithm import Algorithm
from configs.divergence import Divergence
from data.packing import pack
from data.records import Batch, FloatArray, Sequence, TopTokens
from tests.trainers.builders import scored_group
from tests.trainers.fakes import VOCABULARY, World, log_softmax, make_loop, make_run
from trainers.batching import build_step, judge
from trainers.distill import teach
from trainers.ungraded import UngradedRewards

pytestmark = pytest.mark.unit


class Teacher:
    async def top_tokens(self, sequences: Seq[Sequence], top_k: int, temperature: float) -> list[TopTokens]:
        assert (top_k, temperature) == (2, 3.0)
        return [
            TopTokens(
                np.tile(s.response_ids[:, None], (1, 2)), np.full((len(s.response_ids), 3), -1.0, dtype=np.float32)
            )
            for s in sequences
        ]


async def test_a_taught_batch_carries_the_teachers_tokens_of_each_sequence():
    def row(*response: int) -> Sequence:
        return Sequence(
            np.array([1], dtype=np.int32), np.array(response, dtype=np.int32), np.ones(len(response), np.float32)
        )

    batch = Batch(4, (row(5), row(6, 7)), "cross_entropy", 0.5)
    divergence = Divergence(top_k=2, temperature=3.0)
    taught = await teach(Teacher(), divergence)(batch)
    assert (taught.step, taught.objective, taught.divergence, taught.learning_rate_share) == (
        4,
        "distillation",
        divergence,
        0.5,
    )
    packed = pack(taught.sequences)
    assert packed.teacher_ids_RK is not None
    assert packed.teacher_ids_RK.tolist() == [[5, 5], [6, 6], [7, 7]]
    assert packed.teacher_logprobs_RB is not None
    assert packed.teacher_logprobs_RB.shape == (3, 3)
    with pytest.raises(ValueError, match="teacher is given for 1 of 2"):
        pack([taught.sequences[0], batch.sequences[1]])


def test_every_token_has_the_advantage_of_its_own_logprobs_and_no_reward_is_needed():
    group = scored_group(3, [None, 0.0])  # behaviour logprobs are -0.5
    algorithm = Algorithm(advantage="reverse_kl")
    teacher: list[FloatArray] = [np.array([-0.5, -1.0, 0.0], np.float32), np.array([-0.1, -0.5, -2.5], np.float32)]
    data = build_step([group], algorithm=algorithm, version=0, max_completion_tokens=4, reference_logprobs=teacher)
    first, second = (np.asarray(s.advantage) for s in data.sequences)
    assert first == pytest.approx([0.0, -0.5, 0.5])
    assert second == pytest.approx([0.4, 0.0, -2.0])
    assert data.advantages[3] == pytest.approx([0.0, -1.6 / 3])
    assert data.sequences[0].reference_logprobs is teacher[0], "the divergence would not be shown"
    assert pack(data.sequences).advantages_R.tolist() == pytest.approx([0.0, -0.5, 0.5, 0.4, 0.0, -2.0])
    assert judge(group, 2, graded=False) == "trainable"
    assert judge(group, 2) == "invalid"


async def test_the_student_of_the_loop_moves_to_its_teacher_without_any_reward(tmp_path: Path):
    target_V = np.log(np.array([0.6, 0.1, 0.1, 0.1, 0.1]))
    assert len(target_V) == VOCABULARY

    class FixedTeacher:
        async def logprobs(self, sequences: Seq[Sequence], temperature: float) -> list[FloatArray]:
            return [target_V[s.response_ids].astype(np.float32) for s in sequences]

    class World2(World):
        async def train(self, batch: Batch):
            # The world's gradient takes one advantage per sequence: give it each token as a sequence of its own.
            tokens = tuple(
                Sequence(
                    s.prompt_ids,
                    s.response_ids[i : i + 1],
                    s.loss_weights[i : i + 1],
                    float(np.asarray(s.advantage)[i]),
                    None if s.behaviour_logprobs is None else s.behaviour_logprobs[i : i + 1],
                )
                for s in batch.sequences
                for i in range(len(s.response_ids))
            )
            return await super().train(Batch(batch.step, tokens, batch.objective, batch.learning_rate_share))

    def divergence(world: World) -> float:
        student_V = log_softmax(world.logits_V)
        return float((np.exp(student_V) * (student_V - target_V)).sum())

    run = make_run(algorithm__advantage="reverse_kl", steps=40, rollout__group_size=16, schedule={"type": "linear"})
    world = World2()
    before = divergence(world)
    with pytest.raises(ValueError, match="reverse_kl"):
        make_loop(world, run, tmp_path)
    await make_loop(world, run, tmp_path, reference=FixedTeacher(), rewards=UngradedRewards()).run()
    assert before > 0.2
    assert divergence(world) < 0.1 * before
