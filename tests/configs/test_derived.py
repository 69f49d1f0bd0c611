"""Parameters, memory and sizes that follow from a config."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from configs.derived import (
    demands,
    derived_table,
    full_microbatches,
    learner_bytes,
    safetensors_numbers,
    scratch_parameters,
    shape_of,
)
from configs.load import load_run
from configs.policy import ScratchPolicy

pytestmark = pytest.mark.unit
CONFIGS = Path(__file__).parents[2] / "configs"


def write_safetensors(file: Path, **shapes: list[int]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def folder_policy(folder: Path) -> Path:
    folder.mkdir()
    write_safetensors(folder / "a.safetensors", x=[3, 4], y=[5])
    write_safetensors(folder / "b.safetensors", z=[2, 2, 2], scalar=[])
    sizes = {"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64, "num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(sizes))
    return folder


def rows(recipe: str, *overrides: str) -> dict[str, tuple[str, str]]:
    run = load_run(CONFIGS / f"{recipe}.yaml", overrides, check_paths=False)
    return {quantity: (value, how) for quantity, value, how in derived_table(run)}


def test_parameters_of_a_qwen3_from_scratch_are_exact():
    characters = {"type": "scratch", "vocabulary": "characters"}
    assert scratch_parameters(ScratchPolicy.model_validate({**characters, "head_size": 24})) == 255_792
    assert scratch_parameters(ScratchPolicy.model_validate({**characters, "head_size": 32})) == 283_488
    small = {"type": "scratch", "vocabulary": "countdown", "hidden_size": 64, "mlp_size": 128}
    assert scratch_parameters(ScratchPolicy.model_validate({**small, "head_size": 16})) == 119_328
    untied = ScratchPolicy.model_validate({**small, "head_size": 16, "tied_embeddings": False})
    assert scratch_parameters(untied) == 119_328 + 128 * 64


def test_parameters_of_a_folder_are_counted_from_the_headers_of_all_its_files(tmp_path: Path):
    folder = folder_policy(tmp_path / "model")
    run = load_run(CONFIGS / "gsm8k_1gpu.yaml", [f"policy.path={folder}"], check_paths=False)
    shape = shape_of(run)
    assert shape.parameters == 12 + 5 + 8 + 1
    assert shape.kv_values_per_token == 2 * 3 * 2 * 8


def test_a_folder_that_is_not_here_leaves_its_rows_unknown():
    table = rows("math_8gpu")
    assert table["parameters"] == ("unknown", "models/Qwen2.5-7B cannot be read here")
    assert "memory per learner rank" not in table
    assert table["GPUs reserved"][0] == "8"


def test_a_broken_weight_file_is_refused(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="no safetensors file"):
        safetensors_numbers(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("stage", "offload", "gpu", "host"),
    [
        (0, "none", 16.0, 0.0),
        (1, "none", 2 + 2 + 3, 0),
        (2, "none", 2 + 0.5 + 3, 0),
        (3, "none", 0.5 + 0.5 + 3, 0),
        (2, "optimizer", 2 + 0.5, 3),
        (3, "optimizer_and_parameters", 0.5, 3.5),
    ],
)
def test_learner_memory_follows_the_zero_formula(stage: int, offload: str, gpu: float, host: float):
    overrides = [f"learner.zero_stage={stage}", f"learner.offload={offload}"]
    run = load_run(CONFIGS / "math_8gpu.yaml", overrides, check_paths=False)  # 4 ranks, bfloat16
    assert learner_bytes(run, 1000) == (gpu * 1000, host * 1000)


def test_step_sizes_are_multiplied_out():
    table = rows("math_64gpu_zero3")
    assert table["sequences per step"] == ("2,048", "128 prompts x 16 completions")
    assert table["tokens sampled per step, at most"][0] == f"{2048 * 30720:,}"
    assert table["micro-batches per rank and step, at most"][0] == "128"
    assert table["groups in flight, at most"] == ("640", "(max_staleness 4 + 1) x 128 prompts")
    assert table["CPUs reserved"] == ("176", "learner 16 x 4 + rollout 24 x 4 + rewards 8 x 2")


def test_a_microbatch_takes_as_many_full_sequences_as_its_budget_holds():
    run = load_run(CONFIGS / "demo.yaml", ["learner.tokens_per_microbatch=300"])  # two of 128 tokens
    assert [full_microbatches(sequences, run) for sequences in (1, 2, 3, 128)] == [1, 1, 2, 64]


def test_engine_memory_is_weights_and_cache():
    table = rows("demo")
    assert table["memory per engine"][1] == "weights 1.1 MiB + KV cache 1.0 GiB"
    assert table["tokens in the KV cache of an engine"][0] == f"{2**30 // (2 * 3 * 2 * 32 * 4):,}"
    assert "takes what is left of 90%" in rows("demo", "rollout.kv_cache_gib=null")["weights per engine"][1]


def test_an_iteration_of_star_is_multiplied_out():
    table = rows("demo_star", "star.tuning.epochs=1.5")
    assert table["samples per iteration, without hints"] == ("3,072", "768 problems x 4 samples")
    assert table["samples per iteration with hints, at most"][0] == "1,536"
    assert table["rationales per iteration, at most"][0] == "1,536"
    assert table["optimizer steps per iteration, at most"][0] == "72"
    assert "samples per iteration with hints, at most" not in rows("demo_star", "star.rationalization=null")


def test_a_rejection_run_with_a_teacher_reserves_nothing_for_engines():
    overrides = ("teacher={url: 'http://127.0.0.1:8000/v1', model: big}",)
    alone = demands(load_run(CONFIGS / "rejection_cpu.yaml", check_paths=False))
    taught = demands(load_run(CONFIGS / "rejection_cpu.yaml", overrides, check_paths=False))
    assert [demand.part for demand in alone] == ["rollout", *(demand.part for demand in taught)]
