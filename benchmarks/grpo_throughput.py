"""Samples per second of GRPO in steady state: the real `rayzero train` against TRL's GRPOTrainer on the same task.

Countdown with the numbers in the given order, from one policy folder that a short supervised run makes here. Alike on
both sides: policy, prompts and their order, rewards, group size, length limit, optimizer, learning rate, gradient clip,
steps, float32. TRL samples once with transformers' `generate` and once with vLLM in its own process, with the engine
settings of rayzero, each with one thread and with one per core; the faster counts. The first steps warm up, and the
last ones, for which rayzero samples no successor, do not count on either side. Time is wall time: tracking and the
rollout store included.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import peer_trl
from benchmarks.real_run import config_tree, cores, train
from benchmarks.rows import Row
from configs.load import parse_run
from configs.run import GrpoRun
from data.prompt_source import PromptSource
from data.vocabulary import build_tokenizer

CONFIG = "countdown_cpu.yaml"
WARM_UP, TAIL = 4, 3
COLD_START_STEPS = 400
RUN_TIMEOUT_S = 900.0
SHARES = ("generate", "reward", "train", "sync", "wait")
TARGETS = {False: 1.25, True: 1.75}


def make_policy(folder: Path, steps: int) -> Path:
    """The config's policy after a short cold start on searches alone: lengths are those at the end of a run."""
    tree = config_tree(CONFIG)
    stages = [
        stage | {"steps": steps, "traces": stage["traces"] | {"careful_share": 1.0}} for stage in tree["cold_start"]
    ]
    kept = {key: tree[key] for key in ("policy", "learner", "cluster")}
    record = train(kept | {"method": "sft", "name": "policy", "stages": stages}, folder, RUN_TIMEOUT_S)
    return record.folder / "checkpoints" / "final" / "policy"


def grpo_run(policy: Path, steps: int) -> dict[str, Any]:
    """The config's GRPO alone, from that policy, without its evaluations."""
    tree = config_tree(CONFIG)
    length, dtype = tree["policy"]["max_model_len"], "float32"
    return tree | {
        "name": "grpo",
        "policy": {"type": "folder", "path": str(policy), "dtype": dtype, "max_model_len": length},
        "cold_start": [],
        "evaluation": None,
        "steps": steps,
        "schedule": {"type": "constant"},  # as TRL's: another rate would bring other lengths
    }


def ours(policy: Path, folder: Path, steps: int) -> dict[str, float]:
    """Samples per second, mean length in tokens, and the shares of the time."""
    tree = grpo_run(policy, steps)
    lines = train(tree, folder, RUN_TIMEOUT_S).having("train/loss")
    measured = lines[WARM_UP : steps - TAIL]
    seconds = sum(line.metrics["time/step_s"] for line in measured)
    shares = {
        share: sum(line.metrics[f"time/{share}_share"] * line.metrics["time/step_s"] for line in measured) / seconds
        for share in SHARES
    }
    per_step = tree["prompts_per_step"] * tree["rollout"]["group_size"]
    length = sum(line.metrics["completion/length_mean"] for line in measured) / len(measured)
    return shares | {"samples_per_s": len(measured) * per_step / seconds, "length": length}


def trl(policy: Path, folder: Path, steps: int, *, vllm: bool, threads: int) -> dict[str, float]:
    """The same of TRL, without the shares."""
    run = parse_run(grpo_run(policy, steps))
    assert isinstance(run, GrpoRun)
    source = PromptSource(
        run.prompts, build_tokenizer("countdown"), run.seed, max_prompt_tokens=run.policy.max_model_len
    )
    prompts = [source.take() for _ in range(run.prompts_per_step * steps)]
    job = peer_trl.Job(
        policy=str(policy),
        prompts=[prompt.text for prompt in prompts],
        references=[dict(prompt.reference) for prompt in prompts],
        prompts_per_step=run.prompts_per_step,
        group_size=run.rollout.group_size,
        steps=steps,
        max_completion_tokens=run.rollout.max_completion_tokens,
        max_model_len=run.policy.max_model_len,
        learning_rate=run.optimizer.learning_rate,
        gradient_clip=run.learner.gradient_clip,
        vllm=vllm,
        threads=threads,
    )
    report = peer_trl.run_job(job, folder, RUN_TIMEOUT_S)
    ends: list[float] = report["ends"]
    last = steps - TAIL - 1
    samples = (last - WARM_UP + 1) * run.prompts_per_step * run.rollout.group_size
    lengths: list[float] = report["lengths"][WARM_UP : last + 1]
    return {
        "threads": threads,
        "samples_per_s": samples / (ends[last] - ends[WARM_UP - 1]),
        "length": sum(lengths) / len(lengths),
    }


def fastest_trl(policy: Path, folder: Path, steps: int, *, vllm: bool) -> dict[str, float]:
    """TRL with the number of threads that suits it best."""
    tried = [trl(policy, folder, steps, vllm=vllm, threads=threads) for threads in sorted({1, cores()})]
    return max(tried, key=lambda figures: figures["samples_per_s"])


def measure(quick: bool) -> list[Row]:
    """32 prompts of 8 samples a step."""
    steps = 12 if quick else 20
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        policy = make_policy(folder, COLD_START_STEPS)
        mine = ours(policy, folder, steps)
        peers = {vllm: fastest_trl(policy, folder, steps, vllm=vllm) for vllm in (False, True)}
    rows: list[Row] = []
    for vllm, peer in peers.items():
        sampler, threads = "vLLM" if vllm else "transformers generate", int(peer["threads"])
        name = f"TRL {peer_trl.VERSION.rstrip('.*')}, {sampler}, {threads} thread{'s' * (threads > 1)}"
        rows.append(
            Row("GRPO, Countdown", mine["samples_per_s"], "samples/s", name, peer["samples_per_s"], TARGETS[vllm])
        )
        rows.append(Row("its completions, mean length", mine["length"], "tokens", name, peer["length"]))
    rows += [Row(f"its time, {share}", 100 * mine[share], "%") for share in SHARES]
    return rows
