"""A frozen model that scores sequences: the reference of the KL penalty, or the teacher of a distillation.

Satisfies `trainers.ports.ReferenceModel` and `trainers.ports.Teacher`.

One rank holds the whole model; several hold it in shards (ZeRO-3, forward only).
"""

import asyncio
import os
import socket
from collections.abc import Callable
from collections.abc import Sequence as Seq
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from actors.deepspeed_ops import load_operator
from actors.log_file import log_environment, write_log_file
from actors.policy_module import load_policy, to_device
from configs.engines import Reference
from data.packing import pack, plan_microbatches
from data.records import FloatArray, Sequence, TopTokens


class ReferenceDied(RuntimeError):
    """A rank of the reference model failed or did not answer in time."""


@ray.remote(max_restarts=0)  # pyright: ignore[reportCallIssue]
class ReferenceWorker:
    """One rank."""

    def __init__(self, rank: int, model: str, dtype: str, reference: Reference, chunk_tokens: int) -> None:
        write_log_file()
        self._rank = rank
        self._load = {"folder": model, "dtype": dtype, "chunk_tokens": chunk_tokens}
        self._dtype = dtype
        self._reference = reference

    def rendezvous(self) -> tuple[str, int]:
        """Address and a free port of this rank."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def load(self, address: str, port: int) -> None:
        """Read the weights; with several ranks each keeps its shard."""
        reference = self._reference
        torch.set_num_threads(max(1, int(reference.cpus_per_rank)))
        self._device = torch.device("cuda", 0) if reference.gpus_per_rank else torch.device("cpu")
        if reference.ranks == 1:
            self._module: Any = load_policy(**self._load).to(self._device)
        else:
            self._module = self._load_sharded(address, port)
        self._module.eval()

    def _load_sharded(self, address: str, port: int) -> Any:
        import deepspeed
        from transformers.integrations.deepspeed import HfDeepSpeedConfig

        os.environ |= {"RANK": str(self._rank), "LOCAL_RANK": "0", "WORLD_SIZE": str(self._reference.ranks)}
        os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
        if self._device.type == "cpu":
            load_operator("ShareMemCommBuilder")
        deepspeed.init_distributed(
            dist_backend="nccl" if self._device.type == "cuda" else "gloo",
            auto_mpi_discovery=False,
            verbose=False,
            timeout=timedelta(seconds=self._reference.timeout_s),
            rank=self._rank,
            world_size=self._reference.ranks,
        )
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": 3, "overlap_comm": False},
            "bf16": {"enabled": self._dtype == "bfloat16"},
            "steps_per_print": 2**31,
        }
        self._sharded_loading = HfDeepSpeedConfig(config)
        module = load_policy(**self._load)
        engine, *_ = deepspeed.initialize(model=module, config=config)
        deepspeed.zero.register_external_parameter(
            module,
            module.language_model.get_output_embeddings().weight,  # type: ignore[operator]
        )
        return engine

    def logprobs(self, microbatches: Seq[Seq[Sequence]], temperature: float) -> list[list[FloatArray]]:
        """[T] logprobs of each response, by micro-batch. Every rank gets as many micro-batches."""
        answers: list[list[FloatArray]] = []
        for sequences in microbatches:
            with torch.no_grad():
                logprobs_R = self._module(to_device(pack(sequences), self._device), temperature).float().cpu().numpy()
            if sequences:
                ends = np.cumsum([len(s.response_ids) for s in sequences])
                answers.append(np.split(logprobs_R.astype(np.float32), ends[:-1]))
            else:
                answers.append([])
        return answers

    def top_tokens(self, microbatches: Seq[Seq[Sequence]], top_k: int, temperature: float) -> list[list[TopTokens]]:
        """The likeliest tokens at each position of each response, by micro-batch, as `logprobs` has it."""
        answers: list[list[TopTokens]] = []
        for sequences in microbatches:
            with torch.no_grad():
                packed = to_device(pack(sequences), self._device)
                ids_RK, logprobs_RB = self._module(packed, temperature, top_k=top_k)
            ends = np.cumsum([len(s.response_ids) for s in sequences])[:-1]
            ids = np.split(ids_RK.cpu().numpy().astype(np.int32), ends) if sequences else []
            logprobs = np.split(logprobs_RB.cpu().numpy(), ends) if sequences else []
            answers.append([TopTokens(*both) for both in zip(ids, logprobs, strict=True)])
        return answers


class ReferenceModel:
    """All ranks as one object. Build with `await ReferenceModel.start(...)`."""

    def __init__(self, ranks: list[Any], reference: Reference) -> None:
        self._ranks = ranks
        self._reference = reference

    @classmethod
    async def start(
        cls, *, model: str, dtype: str, reference: Reference, chunk_tokens: int, run_folder: Path
    ) -> "ReferenceModel":
        """Raises ReferenceDied with the cause when a rank cannot start."""
        environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(max(1, int(reference.cpus_per_rank)))}
        if not reference.gpus_per_rank:
            environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        ranks: list[Any] = [
            ReferenceWorker.options(  # type: ignore[attr-defined]
                num_cpus=reference.cpus_per_rank,
                num_gpus=reference.gpus_per_rank,
                label_selector=reference.node_labels,
                runtime_env={"env_vars": environment | log_environment(run_folder, f"reference-{rank}")},
            ).remote(rank, model, dtype, reference, chunk_tokens)
            for rank in range(reference.ranks)
        ]
        self = cls(ranks, reference)
        address, port = (await self._ask([ranks[0].rendezvous.remote()]))[0]
        await self._ask([rank.load.remote(address, port) for rank in ranks])
        return self

    async def logprobs(self, sequences: Seq[Sequence], temperature: float) -> list[FloatArray]:
        """[T] logprobs of each response, in the order of the sequences."""
        return await self._score(sequences, lambda rank, microbatches: rank.logprobs.remote(microbatches, temperature))

    async def top_tokens(self, sequences: Seq[Sequence], top_k: int, temperature: float) -> list[TopTokens]:
        """The likeliest tokens at each position of each response, in the order of the sequences."""
        return await self._score(
            sequences, lambda rank, microbatches: rank.top_tokens.remote(microbatches, top_k, temperature)
        )

    async def _score(self, sequences: Seq[Sequence], ask: Callable[[Any, list[list[Sequence]]], Any]) -> list[Any]:
        """What the ranks answer for each sequence, every rank with its micro-batches."""
        lengths = [sequence.num_tokens for sequence in sequences]
        plan = plan_microbatches(lengths, self._reference.tokens_per_microbatch, len(self._ranks))
        calls = [
            ask(rank, [[sequences[i] for i in indices] for indices in microbatches])
            for rank, microbatches in zip(self._ranks, plan, strict=True)
        ]
        ordered: dict[int, Any] = {}
        for microbatches, answers in zip(plan, await self._ask(calls), strict=True):
            for indices, scores in zip(microbatches, answers, strict=True):
                ordered |= dict(zip(indices, scores, strict=True))
        return [ordered[i] for i in range(len(sequences))]

    async def _ask(self, calls: list[Any]) -> list[Any]:
        try:
            return await asyncio.wait_for(asyncio.gather(*calls), self._reference.timeout_s)
        except TimeoutError as error:
            raise ReferenceDied(f"the reference model gave no answer within {self._reference.timeout_s:g} s") from error
        except RayError as error:
            raise ReferenceDied(f"the reference model failed: {error}") from error

    def kill(self) -> None:
        for rank in self._ranks:
            ray.kill(rank)
