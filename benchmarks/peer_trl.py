"""TRL's GRPOTrainer as the other side of a comparison: installed apart from rayzero, and run by its own Python.

`peer_python` makes a virtual environment that sees everything installed for rayzero and adds TRL with the little that
it needs besides: both sides use the same torch, transformers and vLLM, and rayzero's environment stays as it is.
The rest of this file runs there: `python -m benchmarks.peer_trl JOB REPORT`.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERSION = "1.16.*"
FOLDER = "RAYZERO_PEER_VENV"  # environment variable: where TRL is installed, in place of runs/.peers/trl
ROOT = Path(__file__).parent.parent
INSTALL_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Job:
    """What both sides do alike. Prompts are used in this order, `prompts_per_step` of them in each step."""

    policy: str  # Hugging Face folder
    prompts: list[str]
    references: list[dict[str, Any]]  # of each prompt
    prompts_per_step: int
    group_size: int
    steps: int
    max_completion_tokens: int
    max_model_len: int
    learning_rate: float
    gradient_clip: float
    vllm: bool  # sample with vLLM in the trainer's process, or with transformers' generate
    threads: int


def peer_python() -> Path:
    """The Python that has TRL; installs it first where it is missing. Raises RuntimeError with pip's own words."""
    folder = Path(os.environ.get(FOLDER) or ROOT / "runs" / ".peers" / "trl")
    python = folder / "bin" / "python"
    if _imports_trl(python):
        return python
    print(f"installing TRL {VERSION} into {folder} (a minute; set {FOLDER} to have it elsewhere)", flush=True)
    _call([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    packages = next(folder.glob("lib/python*/site-packages"))
    ours = next(path for path in map(Path, sys.path) if (path / "transformers").is_dir())
    (packages / "rayzero.pth").write_text(f"{ours}\n")  # pip then counts as installed what rayzero has
    _call([sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", f"trl=={VERSION}"])
    if not _imports_trl(python):
        raise RuntimeError(f"TRL was installed into {folder} and cannot be imported there: delete that folder")
    return python


def _imports_trl(python: Path) -> bool:
    return python.exists() and not subprocess.run([python, "-c", "import trl"], capture_output=True).returncode


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


# --------------------------------------------------------------------------------------- from here on, in TRL's process


def score(prompts: list[str], completions: list[str], reference: list[str], **_: Any) -> list[float]:
    """The rewards of configs/countdown_cpu.yaml, by the functions that rayzero itself scores with."""
    from rewards.countdown import countdown
    from rewards.format import think_answer_format
    from rewards.sample import Sample

    samples = [
        Sample(prompt, completion, json.loads(problem))
        for prompt, completion, problem in zip(prompts, completions, reference, strict=True)
    ]
    return [countdown(sample).value + 0.1 * think_answer_format(sample).value for sample in samples]


def update_engine(generation: Any) -> None:
    """TRL's `sync_weights` for an engine on a CPU, whose packed weights cannot be written one by one as TRL does.

    Inside vLLM's own reload, straight from the trainer's tensors: nothing is copied on the way.
    """
    reload: Any = importlib.import_module("vllm.model_executor.model_loader.reload")
    runner = generation.llm.llm_engine.model_executor.driver_worker.model_runner
    reload.initialize_layerwise_reload(runner.model)
    runner.model.load_weights((name, parameter.data) for name, parameter in generation.model.named_parameters())
    reload.finalize_layerwise_reload(runner.model, runner.model_config)
    head = runner.model.lm_head  # tied to the embedding, and packed apart from it
    head.weight = runner.model.model.embed_tokens.weight
    head.quant_method.process_weights_after_loading(head)
    generation.llm.reset_prefix_cache()


def prepare_vllm() -> None:
    """Give TRL's engine what rayzero's has, and TRL has no setting for: float32, eager mode, the same KV cache."""
    module: Any = importlib.import_module("trl.generation.vllm_generation")
    engine = module.LLM

    def start(**settings: Any) -> Any:
        return engine(**settings, dtype="float32", enforce_eager=True, kv_cache_memory_bytes=2**30, block_size=32)

    module.LLM = start
    module.VLLMGeneration.sync_weights = update_engine


def train(job: Job) -> dict[str, Any]:
    """When each step ended (seconds of a monotonic clock), and its mean completion length and reward."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    trl: Any = importlib.import_module("trl")
    rows: Any = importlib.import_module("datasets")
    torch.set_num_threads(job.threads)
    if job.vllm:
        prepare_vllm()
    ends: list[float] = []

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    samples = job.prompts_per_step * job.group_size
    settings = trl.GRPOConfig(
        output_dir=str(Path(job.policy).parent / "trl"),
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        gradient_checkpointing=False,
        per_device_train_batch_size=samples,
        num_generations=job.group_size,
        max_completion_length=job.max_completion_tokens,
        temperature=1.0,
        max_steps=job.steps,
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        max_grad_norm=job.gradient_clip,
        beta=0.0,
        loss_type="dapo",  # the mean over all tokens of the step
        scale_rewards="none",  # the group's mean is deducted, as in dr_grpo
        shuffle_dataset=False,
        use_vllm=job.vllm,
        vllm_mode="colocate",
        vllm_max_model_length=job.max_model_len,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    problems = {"prompt": job.prompts, "reference": [json.dumps(reference) for reference in job.references]}
    trainer = trl.GRPOTrainer(
        model=job.policy,
        reward_funcs=score,
        args=settings,
        train_dataset=rows.Dataset.from_dict(problems),
        processing_class=transformers.AutoTokenizer.from_pretrained(job.policy),
        callbacks=[Watch()],
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "reward" in entry]
    return {
        "ends": ends,
        "lengths": [entry["completions/mean_length"] for entry in logs],
        "rewards": [entry["reward"] for entry in logs],
        "log": logs[-1],
    }


def run_job(job: Job, folder: Path, timeout_s: float) -> dict[str, Any]:
    """Run the job with TRL's own Python and return what `train` returned. Raises RuntimeError with the log's end."""
    question, answer, log = folder / "job.json", folder / "report.json", folder / "trl.log"
    question.write_text(json.dumps(asdict(job)))
    answer.unlink(missing_ok=True)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(job.threads),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # as in rayzero: the engine's core has no process of its own
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    with log.open("w") as output:
        done = subprocess.run(
            [str(peer_python()), "-m", "benchmarks.peer_trl", str(question), str(answer)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )
    if done.returncode or not answer.exists():
        raise RuntimeError(
            f"TRL ended with exit code {done.returncode}; the end of its log:\n{log.read_text()[-4000:]}"
        )
    return json.loads(answer.read_text())


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(train(Job(**json.loads(Path(sys.argv[1]).read_text())))))
