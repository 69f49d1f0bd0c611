"""One DeepSpeed rank of the learner. `actors/learner_group.py` makes the same calls on all ranks, in the same order.

The loss is a plain sum over the whole step (weights are global, see data/records.py), and DeepSpeed averages gradients
over the ranks, so each micro-batch's loss is multiplied by the number of ranks and nothing else.
"""

import gc
import math
import os
import shutil
import socket
import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from actors.deepspeed_ops import load_operator
from actors.fleet_client import FleetClient, TransferPlan
from actors.log_file import write_log_file
from actors.policy_module import PolicyModule, load_policy, to_device
from actors.score_module import ScoreModule, load_scorer
from algorithms.distillation import distillation_loss
from algorithms.losses import LossOutput, cross_entropy_loss, policy_loss, reduce_metrics
from algorithms.score_losses import score_loss
from configs.algorithm import Algorithm
from configs.engines import Learner
from configs.prompts import AdamW, Optimizer
from data.packing import PackedTokens, pack
from data.records import Batch, FloatArray, Int32Array, Sequence, StepReport

TOKENIZER_FILES = ("*.json", "*.jinja", "*.txt", "*.model")


@ray.remote(max_restarts=0, concurrency_groups={"control": 2})  # pyright: ignore[reportCallIssue]
class LearnerWorker:
    """Holds one rank's engine. `algorithm` is None where no policy loss is trained; `scores`: a ScoreModule is."""

    def __init__(
        self,
        rank: int,
        world_size: int,
        model: str,
        dtype: str,
        learner: Learner,
        algorithm: Algorithm | None,
        seed: int,
        scores: bool = False,
    ) -> None:
        write_log_file()
        self._rank = rank
        self._world_size = world_size
        self._model = model
        self._dtype = dtype
        self._learner = learner
        self._algorithm = algorithm
        self._seed = seed
        self._scores = scores
        self._version = 0
        self._engine: Any = None
        self._transfer: Any = None

    # ---------------------------------------------------------------------------------------------------------- start

    def rendezvous(self) -> tuple[str, int]:
        """Address and a free port of this rank, for rank 0 to be found at."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def join(self, address: str, port: int, timeout_s: float) -> None:
        """Form the process group. Raises after `timeout_s` when a rank is missing."""
        from datetime import timedelta

        import deepspeed

        threads = self._learner.threads or max(1, int(self._learner.cpus_per_rank))
        torch.set_num_threads(threads)
        torch.manual_seed(self._seed)
        os.environ |= {
            "RANK": str(self._rank),
            "LOCAL_RANK": "0",  # Ray shows each actor only its own GPU
            "WORLD_SIZE": str(self._world_size),
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
        }
        self._device = torch.device("cuda", 0) if self._learner.gpus_per_rank else torch.device("cpu")
        if self._device.type == "cpu":
            load_operator("ShareMemCommBuilder")
        deepspeed.init_distributed(
            dist_backend="nccl" if self._device.type == "cuda" else "gloo",
            auto_mpi_discovery=False,
            verbose=False,
            timeout=timedelta(seconds=timeout_s),
            rank=self._rank,
            world_size=self._world_size,
        )

    def begin(self, optimizer: Optimizer, scratch: str, model: str | None = None, version: int = 0) -> None:
        """Build the engine with a fresh optimizer; a second time, from the weights that were trained so far.

        `scratch`: a folder on a file system that all ranks see. `model`: a Hugging Face folder whose weights are taken
        instead. `version`: where the count of steps goes on.
        """
        import deepspeed

        self._version = version
        if self._engine is not None:
            if model is None:
                self.export(scratch)
            dist.barrier()
            self._close_transfer()
            self._engine.destroy()
            self._engine = None
            gc.collect()
            self._model = scratch
        self._model = model or self._model
        config = self._deepspeed_config(optimizer)
        if self._learner.zero_stage == 3:
            from transformers.integrations.deepspeed import HfDeepSpeedConfig

            self._sharded_loading = HfDeepSpeedConfig(config)  # from_pretrained then shards while it reads
        module = self._load_module()
        client_optimizer = None
        if isinstance(optimizer, AdamW) and self._learner.offload == "none":
            client_optimizer = torch.optim.AdamW(module.parameters(), **_adamw_arguments(optimizer), fused=True)
        else:
            load_operator("FusedAdamBuilder" if self._learner.offload == "none" else "CPUAdamBuilder")
            _tag_muon_parameters(module)
        self._engine, *_ = deepspeed.initialize(model=module, config=config, optimizer=client_optimizer)
        self._engine.train()
        if self._learner.zero_stage == 3 and isinstance(module, PolicyModule):
            head = module.language_model.get_output_embeddings()  # type: ignore[operator]
            deepspeed.zero.register_external_parameter(module, head.weight)  # used by PolicyModule.forward itself
        for group in self._engine.optimizer.param_groups:
            group["peak_lr"] = group["lr"]

    def _load_module(self) -> PolicyModule | ScoreModule:
        learner = self._learner
        if self._scores:
            return load_scorer(self._model, dtype=self._dtype, gradient_checkpointing=learner.gradient_checkpointing)
        return load_policy(
            self._model,
            dtype=self._dtype,
            chunk_tokens=learner.logits_chunk_tokens,
            gradient_checkpointing=learner.gradient_checkpointing,
        )

    def _deepspeed_config(self, optimizer: Optimizer) -> dict[str, Any]:
        learner = self._learner
        on_cpu = not learner.gpus_per_rank
        zero: dict[str, Any] = {"stage": learner.zero_stage, "overlap_comm": not on_cpu}
        if learner.offload != "none":
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": not on_cpu}
        if learner.offload == "optimizer_and_parameters":
            zero["offload_param"] = {"device": "cpu", "pin_memory": not on_cpu}
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,  # the boundary is set by hand: the number of micro-batches varies
            "gradient_clipping": learner.gradient_clip,
            "zero_optimization": zero,
            "steps_per_print": 2**31,
        }
        if self._dtype == "bfloat16":
            config["bf16"] = {"enabled": True, "check_grad_overflow": True}
        if isinstance(optimizer, AdamW):
            if learner.offload != "none":
                config["optimizer"] = {"type": "AdamW", "params": _adamw_arguments(optimizer)}
        else:
            config["optimizer"] = {
                "type": "Muon",
                "params": {
                    "lr": optimizer.learning_rate,
                    "muon_lr": optimizer.learning_rate,
                    "adam_lr": optimizer.adam_learning_rate,
                    "momentum": optimizer.momentum,
                    "betas": list(optimizer.betas),
                    "eps": optimizer.eps,
                    "weight_decay": optimizer.weight_decay,
                },
            }
        return {**config, **learner.deepspeed}

    # ---------------------------------------------------------------------------------------------------------- train

    def train(self, microbatches: Seq[Seq[Sequence]], batch: Batch) -> StepReport:
        """One optimizer step on this rank's micro-batches (as many on every rank; empty ones are dummies).

        `batch` carries the step's settings; its sequences are left out.
        """
        start = time.perf_counter()
        engine = self._engine
        for group in engine.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * batch.learning_rate_share
        sums: dict[str, float] = {}
        for index, sequences in enumerate(microbatches):
            packed = to_device(pack(sequences), self._device)
            engine.set_gradient_accumulation_boundary(index == len(microbatches) - 1)
            output = self._loss(packed, batch)
            engine.backward(output.loss * self._world_size)
            _accumulate(sums, output.sums)
        norm, skipped = self._step()
        if not skipped:
            self._version += 1
        metrics = reduce_metrics(self._over_ranks(sums))
        metrics |= {"train/grad_norm": norm, "train/learning_rate": engine.optimizer.param_groups[0]["lr"]}
        return StepReport(version=self._version, skipped=skipped, metrics=metrics, train_s=time.perf_counter() - start)

    def _loss(self, packed: PackedTokens, batch: Batch) -> LossOutput:
        """A micro-batch's share of the step's loss, by the batch's objective."""
        if batch.objective == "distillation":
            losses_R = self._engine(packed, batch.temperature, divergence=batch.divergence)
            return distillation_loss(losses_R, packed.weights_R)
        values_R = self._engine(packed, batch.temperature)
        if batch.objective == "cross_entropy":
            return cross_entropy_loss(values_R, packed.weights_R)
        if batch.objective != "policy":
            return score_loss(batch.objective, values_R, packed)
        if self._algorithm is None or packed.behaviour_logprobs_R is None:
            raise RuntimeError("a policy step needs an algorithm and behaviour logprobs; one of them is missing")
        return policy_loss(
            self._algorithm,
            logprobs_R=values_R,
            behaviour_R=packed.behaviour_logprobs_R,
            advantages_R=packed.advantages_R,
            weights_R=packed.weights_R,
            segment_R=packed.segment_R,
            reference_R=packed.reference_logprobs_R,
        )

    def loss(self, microbatches: Seq[Seq[Sequence]], batch: Batch) -> float:
        """The step's loss over all ranks under the present weights, which stay as they are."""
        sums: dict[str, float] = {}
        with torch.no_grad():
            for sequences in microbatches:
                _accumulate(sums, self._loss(to_device(pack(sequences), self._device), batch).sums)
        return self._over_ranks(sums)["loss"]

    def _step(self) -> tuple[float, bool]:
        """Change the weights unless the gradient is not finite: its norm, and whether the step was skipped."""
        engine = self._engine
        if self._learner.zero_stage == 0 and self._dtype == "float32":
            # A plain torch optimizer, which would write NaN into the weights. Every rank holds the same gradient.
            gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            if not math.isfinite(norm):
                engine.zero_grad()
                return norm, True
            engine.step()
            return norm, False
        engine.step()
        norm = engine.get_global_grad_norm()
        return float("nan") if norm is None else float(norm), bool(engine.optimizer.overflow)

    def _over_ranks(self, sums: dict[str, float]) -> dict[str, float]:
        if self._world_size == 1:
            return sums
        reduced: dict[str, float] = {}
        for op, prefix in ((dist.ReduceOp.SUM, False), (dist.ReduceOp.MAX, True)):
            names = sorted(name for name in sums if name.startswith("max_") is prefix)
            values = torch.tensor([sums[name] for name in names], dtype=torch.float64, device=self._device)
            dist.all_reduce(values, op=op)
            reduced |= dict(zip(names, values.tolist(), strict=True))
        return reduced

    def logprobs(self, sequences: Seq[Sequence], temperature: float) -> list[FloatArray]:
        """[T] logprobs of each response, or scores of a ScoreModule. Every rank must be called (ZeRO-3 gathers)."""
        with torch.no_grad():
            logprobs_R = self._engine(to_device(pack(sequences), self._device), temperature).float().cpu().numpy()
        ends = np.cumsum([len(s.response_ids) for s in sequences])
        return np.split(logprobs_R.astype(np.float32), ends[:-1])

    def prompt_logprobs(self, token_ids: Int32Array) -> NDArray[np.float32]:
        """[P-1] logprobs of every token after the first, at temperature 1: the learner's side of the probe."""
        probe = Sequence(token_ids[:1], token_ids[1:], np.zeros(len(token_ids) - 1, dtype=np.float32))
        return self.logprobs([probe], 1.0)[0]

    # ---------------------------------------------------------------------------------------------------- checkpoints

    def export(self, folder: str) -> None:
        """Write the policy as a Hugging Face folder; all ranks gather, rank 0 writes."""
        from actors.weight_transfer import ParameterSource

        module: PolicyModule | ScoreModule = self._engine.module
        weights = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in ParameterSource(module.language_model, rank=self._rank)
            if self._rank == 0
        }
        if self._rank == 0:
            target = Path(folder)
            target.mkdir(parents=True, exist_ok=True)
            for pattern in TOKENIZER_FILES:
                for file in Path(self._model).glob(pattern):
                    if not file.name.startswith("model.safetensors") and not (target / file.name).exists():
                        shutil.copy(file, target / file.name)
            module.language_model.save_pretrained(target, state_dict=weights)  # type: ignore[operator]

    def save(self, folder: str) -> None:
        """Write this rank's DeepSpeed state below the folder."""
        self._engine.save_checkpoint(folder, tag="state", client_state={"rayzero_version": self._version})

    def load(self, folder: str) -> None:
        """Read what `save` wrote, after `begin` with the same optimizer."""
        path, client_state = self._engine.load_checkpoint(folder, tag="state")
        if path is None:
            raise RuntimeError(f"{folder} holds no DeepSpeed checkpoint that this learner can load")
        self._version = int(client_state["rayzero_version"])

    # -------------------------------------------------------------------------------------------------- weight updates

    def open_transfer(self, plan: TransferPlan) -> None:
        """Join the weight transfer that the plan describes; again when its workers change."""
        from actors.weight_transfer import open_trainer_side  # loads vLLM: not before it is needed

        self._close_transfer()
        client = FleetClient(plan, ray.get_runtime_context().get_node_id())
        self._transfer = open_trainer_side(plan, client, self._engine.module.language_model, self._rank)

    def send_weights(self) -> dict[str, Any]:
        """Bring the weights to every worker of the plan. Rank 0 returns version, bytes and each worker's outcome."""
        self._transfer.client.version = self._version
        self._transfer.send_weights()
        sent = sum(int(np.prod(meta.shape)) * meta.dtype.itemsize for meta in self._transfer.source.metadata())
        return {"version": self._version, "bytes": sent, **self._transfer.client.take_report()}

    def _close_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer.shutdown()
            self._transfer = None

    # --------------------------------------------------------------------------------------------------------- control

    @ray.method(concurrency_group="control")
    def where(self) -> tuple[str, int]:
        """Node and process of this rank; answers while a step runs."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def close(self) -> None:
        """Give shared memory back."""
        self._close_transfer()


def _accumulate(sums: dict[str, float], more: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in more.items():
        value = float(tensor)
        sums[name] = max(sums.get(name, value), value) if name.startswith("max_") else sums.get(name, 0.0) + value


def _adamw_arguments(optimizer: AdamW) -> dict[str, Any]:
    return {
        "lr": optimizer.learning_rate,
        "betas": tuple(optimizer.betas),
        "eps": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
    }


def _tag_muon_parameters(module: torch.nn.Module) -> None:
    """Muon is for the matrices of the decoder layers; embeddings, head, norms and biases get AdamW."""
    for name, parameter in module.named_parameters():
        parameter.use_muon = ".layers." in name and len(getattr(parameter, "ds_shape", parameter.shape)) == 2  # type: ignore[attr-defined]
