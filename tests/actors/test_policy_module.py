"""One module gives logprobs, a teacher's top tokens and a student's losses; a small student follows a teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch

from actors.policy_module import PolicyModule, load_policy
from actors.reference_model import ReferenceWorker
from actors.scratch_policy import write_scratch_policy
from algorithms.distillation import distillation_loss
from configs.divergence import Divergence
from configs.policy import ScratchPolicy
from data.packing import pack
from data.records import Sequence, TopTokens

pytestmark = pytest.mark.unit


def policy(folder: Path, seed: int, width: int) -> PolicyModule:
    write_scratch_policy(
        ScratchPolicy(vocabulary="characters", hidden_size=width, layers=1, mlp_size=32, heads=2, kv_heads=1),
        folder,
        seed,
    )
    return load_policy(folder, dtype="float32", chunk_tokens=5)


def sequences() -> list[Sequence]:
    random = np.random.default_rng(3)
    draw = [random.integers(7, 60, n).astype(np.int32) for n in (3, 6, 4, 8)]
    return [Sequence(p, r, np.full(len(r), 1 / 14, np.float32)) for p, r in (draw[:2], draw[2:])]


def test_top_tokens_of_the_whole_vocabulary_hold_the_logprobs_of_the_targets(tmp_path: Path):
    module = policy(tmp_path, 0, 32)
    packed = pack(sequences())
    with torch.no_grad():
        ids_RK, logprobs_RB = module(packed, 2.0, top_k=64)
        targets_R = module(packed, 2.0)
    at_targets_R = torch.where(ids_RK == packed.target_ids_R[:, None], logprobs_RB[:, :-1], 0.0).sum(1)
    assert ids_RK.shape == (14, 64)
    assert torch.allclose(at_targets_R, targets_R, atol=1e-5)


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_a_student_of_another_width_comes_closer_to_its_teacher(tmp_path: Path, kind: str):
    teacher, student = policy(tmp_path / "teacher", 1, 48), policy(tmp_path / "student", 2, 32)
    divergence = Divergence.model_validate({"type": kind, "top_k": 8, "temperature": 1.5})
    rows = sequences()
    with torch.no_grad():
        ids_RK, logprobs_RB = teacher(pack(rows), divergence.temperature, top_k=divergence.top_k)
    taught, start = [], 0
    for row in rows:
        end = start + len(row.response_ids)
        top = TopTokens(ids_RK[start:end].numpy().astype(np.int32), logprobs_RB[start:end].numpy())
        taught.append(Sequence(row.prompt_ids, row.response_ids, row.loss_weights, teacher=top))
        start = end
    packed = pack(taught)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(40):
        optimizer.zero_grad()
        output = distillation_loss(student(packed, 1.0, divergence=divergence), packed.weights_R)
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_a_step_of_distillation_without_a_teacher_is_refused(tmp_path: Path):
    module = policy(tmp_path, 0, 32)
    with pytest.raises(RuntimeError, match="needs the teacher's top tokens"):
        module(pack(sequences()), 1.0, divergence=Divergence())


def test_a_dummy_pack_has_no_loss_and_a_gradient_of_zero(tmp_path: Path):
    module = policy(tmp_path, 0, 32)
    packed = pack([])
    output = distillation_loss(module(packed, 1.0, divergence=Divergence()), packed.weights_R)
    output.loss.backward()
    assert float(output.loss.detach()) == 0
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients)


def test_a_teachers_rank_answers_sequence_by_sequence(tmp_path: Path):
    worker_class = ReferenceWorker.__ray_metadata__.modified_class  # type: ignore[attr-defined]
    worker = worker_class.__new__(worker_class)
    worker._module, worker._device = policy(tmp_path, 0, 32), torch.device("cpu")
    first, second = sequences()
    tops = worker.top_tokens([[first, second], []], 8, 1.0)
    alone = worker.top_tokens([[second]], 8, 1.0)
    assert [len(answers) for answers in tops] == [2, 0]
    assert [top.token_ids.shape for top in tops[0]] == [(6, 8), (8, 8)]
    assert tops[0][1].logprobs.shape == (8, 9)
    assert np.allclose(tops[0][1].logprobs, alone[0][0].logprobs, atol=1e-5)
    assert np.allclose(np.exp(tops[0][0].logprobs).sum(1), 1, atol=1e-5)
