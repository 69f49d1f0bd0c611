"""Model folders and data files that are missing or unfit are found before anything starts."""

import json
from pathlib import Path

import pytest

from configs.load import ConfigError, load_run

pytestmark = pytest.mark.unit
RECIPE = Path(__file__).parents[2] / "configs" / "gsm8k_1gpu.yaml"


def whole(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 4096, "num_attention_heads": 14}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    (tmp_path / "rows.jsonl").write_text("")
    return folder


def load(tmp_path: Path, *overrides: str) -> None:
    data = [f"{key}.path={tmp_path / 'rows.jsonl'}" for key in ("prompts", "evaluation.prompts")]
    load_run(RECIPE, [f"policy.path={tmp_path / 'model'}", *data, *overrides])


def only_problem(tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *overrides)
    (problem,) = caught.value.problems
    return problem


def test_a_whole_folder_and_files_that_exist_are_accepted(tmp_path: Path):
    whole(tmp_path)
    load(tmp_path)


def test_a_missing_folder_is_named_with_where_it_was_looked_for(tmp_path: Path):
    whole(tmp_path)
    problem = only_problem(tmp_path, "policy.path=models/none")
    assert problem.startswith(f"policy.path = models/none: no such folder (looked in {Path.cwd()})")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "config.json cannot be read"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no weights"),
    ],
)
def test_each_missing_file_of_a_folder_is_named(tmp_path: Path, file: str, said: str):
    (whole(tmp_path) / file).unlink()
    assert said in only_problem(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path):
    folder = whole(tmp_path)
    shards = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert "1 of 2 weight files" in only_problem(tmp_path)
    (folder / "model-2.safetensors").write_bytes(b"")
    load(tmp_path)


def test_a_model_with_too_few_positions_is_refused(tmp_path: Path):
    whole(tmp_path)
    problem = only_problem(tmp_path, "policy.max_model_len=5000")
    assert problem.startswith("policy.max_model_len = 5000: the model's positions end at 4096")


def test_tensor_parallel_divides_the_heads_of_the_model(tmp_path: Path):
    whole(tmp_path)
    overrides = ["weight_transfer.backend=nccl", "learner.gpus_per_rank=1", "rollout.gpus_per_worker=4"]
    problem = only_problem(tmp_path, *overrides, "rollout.tensor_parallel=4")
    assert problem.endswith("it must divide the model's 14 heads; use one of 1, 2, 7, 14")


def test_a_missing_data_file_is_named(tmp_path: Path):
    whole(tmp_path)
    problem = only_problem(tmp_path, "evaluation.prompts.path=gone.parquet")
    assert problem.startswith("evaluation.prompts.path = gone.parquet: no such file")
