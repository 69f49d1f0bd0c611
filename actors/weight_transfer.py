"""How weights get from the learner's ranks into the engines, by vLLM's own weight-transfer protocol.

`ParameterSource` streams the learner's parameters (gathering ZeRO-3 shards group by group). vLLM ships the `nccl` and
`ipc` backends; the `host` backend here writes one flat safetensors file into shared memory, which the engines on that
node map; engines on other nodes get the same bytes through the Ray object store.
"""

import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import safe_open
from vllm.config.weight_transfer import WeightTransferConfig
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from actors.engine_plugin import register
from actors.fleet_client import FleetClient, TransferPlan

SHARED_MEMORY = Path("/dev/shm")
GATHER_GROUP_BYTES = 512 * 2**20  # cap on what one ZeRO-3 gather adds to a rank's memory
SAFETENSORS_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
SLOTS = 2  # a late joiner may still read the previous version while the next one is written


class ParameterSource(WeightSource):
    """The policy's parameters as `(name, full tensor)`, in one fixed order on every rank.

    Under ZeRO-3 the shards are gathered in flat, capped groups on all ranks, never nested and never inside a forward
    pass; `keep` says which ranks get real tensors out of it (`ipc` needs them on every rank, the others on rank 0).
    Tied parameters appear once.
    """

    def __init__(self, policy: torch.nn.Module, *, rank: int, keep: Literal["rank0", "all"] = "rank0") -> None:
        self._parameters = list(policy.named_parameters())
        self._kept = keep == "all" or rank == 0

    def metadata(self) -> list[ParamMeta]:
        return [ParamMeta(name, p.dtype, tuple(getattr(p, "ds_shape", p.shape))) for name, p in self._parameters]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for group in self._gather_groups():
            sharded = [p for _, p in group if hasattr(p, "ds_id")]
            if not sharded:
                yield from ((name, p.detach()) for name, p in group)
                continue
            import deepspeed  # here, because engine processes load this module too and never gather

            with deepspeed.zero.GatheredParameters(sharded):
                full = [(name, p.detach().clone() if self._kept else p.detach()[:0]) for name, p in group]
            yield from full  # after the gather is over: the consumer may block without holding a collective open

    def _gather_groups(self) -> Iterator[list[tuple[str, torch.nn.Parameter]]]:
        group: list[tuple[str, torch.nn.Parameter]] = []
        size = 0
        for name, parameter in self._parameters:
            nbytes = getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
            if group and size + nbytes > GATHER_GROUP_BYTES:
                yield group
                group, size = [], 0
            group.append((name, parameter))
            size += nbytes
        if group:
            yield group


# --------------------------------------------------------------------------------------------- host: the learner's side


@dataclass
class HostTrainerInitInfo(TrainerInitInfo):
    """Trainer side of the `host` backend. `folder` is a folder in shared memory that this run owns."""

    backend: ClassVar[str] = "host"

    folder: str


class FlatWeights:
    """One safetensors file in shared memory, laid out once and refilled in place: header, then every tensor."""

    def __init__(self, path: Path, metadata: list[ParamMeta]) -> None:
        entries: dict[str, dict[str, Any]] = {}
        offset = 0
        for meta in metadata:
            nbytes = int(torch.Size(meta.shape).numel()) * meta.dtype.itemsize
            entries[meta.name] = {
                "dtype": SAFETENSORS_NAMES[meta.dtype],
                "shape": list(meta.shape),
                "data_offsets": [offset, offset + nbytes],
            }
            offset += nbytes
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 64)  # tensors start aligned
        self.path = path
        self.nbytes = 8 + len(header) + offset
        with open(path, "wb+") as file:
            os.posix_fallocate(file.fileno(), 0, self.nbytes)  # a full /dev/shm fails here, not with SIGBUS later
            self._map = mmap.mmap(file.fileno(), self.nbytes)
        self._map[: 8 + len(header)] = len(header).to_bytes(8, "little") + header
        self.buffer = torch.frombuffer(self._map, dtype=torch.uint8)
        self._views = {
            meta.name: self.buffer[8 + len(header) + begin : 8 + len(header) + end].view(meta.dtype).view(meta.shape)
            for meta in metadata
            for begin, end in [entries[meta.name]["data_offsets"]]
        }

    def fill(self, source: WeightSource) -> None:
        """Copy every tensor of the source into its place. Raises when names differ from the layout."""
        filled = 0
        for name, tensor in source:
            self._views[name].copy_(tensor)
            filled += 1
        if filled != len(self._views):
            raise RuntimeError(f"the weight source gave {filled} parameters, the layout has {len(self._views)}")


class HostTrainerWeightTransferEngine(TrainerWeightTransferEngine[HostTrainerInitInfo]):
    """Rank 0 fills one of two files in turn and tells the engines; other ranks only take part in the gathers."""

    init_info_cls = HostTrainerInitInfo

    def __init__(self, info: HostTrainerInitInfo, client: VLLMWeightSyncClient, source: WeightSource) -> None:
        super().__init__(client=client, source=source, is_sender=info.is_sender)
        self._folder = Path(info.folder)
        self._slots: list[FlatWeights] = []
        self._turn = 0

    @classmethod
    def trainer_init(
        cls, init_info: HostTrainerInitInfo, *, client: VLLMWeightSyncClient, source: WeightSource | None = None
    ) -> Self:
        if source is None:
            raise ValueError("the host weight transfer needs a WeightSource")
        engine = cls(init_info, client, source)
        if engine.is_sender:
            engine._folder.mkdir(parents=True, exist_ok=True)
            client.init_weight_transfer_engine({"names": [m.name for m in source.metadata()]})
        return engine

    def send_weights(self) -> None:
        assert self.source is not None
        if not self.is_sender:
            for _ in self.source:
                pass
            return
        if len(self._slots) < SLOTS:
            self._slots.append(
                FlatWeights(self._folder / f"slot{len(self._slots)}.safetensors", self.source.metadata())
            )
            self._turn = len(self._slots) - 1
        else:
            self._turn = 1 - self._turn
        slot = self._slots[self._turn]
        slot.fill(self.source)
        self.client.start_weight_update()
        self.client.update_weights({"path": str(slot.path)})
        self.client.finish_weight_update()

    @property
    def current(self) -> FlatWeights:
        """The file that holds the weights sent last."""
        return self._slots[self._turn]

    def shutdown(self) -> None:
        for slot in self._slots:
            slot.path.unlink(missing_ok=True)
        if self.is_sender and self._folder.exists():
            self._folder.rmdir()


# --------------------------------------------------------------------------------------------- host: the engine's side


@dataclass
class HostInitInfo(WeightTransferInitInfo):
    """Names that every update must bring."""

    names: list[str]


@dataclass
class HostUpdateInfo(WeightTransferUpdateInfo):
    """A safetensors file on this node that holds the whole model."""

    path: str


class HostWeightTransferEngine(WeightTransferEngine[HostInitInfo, HostUpdateInfo]):
    """Maps the file and loads it through the model's own loader, inside vLLM's layerwise reload.

    The reload matters on CPUs, where linear layers keep their weights packed and free the originals.
    """

    init_info_cls = HostInitInfo
    update_info_cls = HostUpdateInfo

    def __init__(self, config: WeightTransferConfig, vllm_config: Any, device: torch.device, model: Any) -> None:
        super().__init__(config, vllm_config, device, model)
        self.model: Any  # a vLLM model class: its load_weights and submodules are not in nn.Module's type
        self._names: set[str] = set()

    def init_transfer_engine(self, init_info: HostInitInfo) -> None:
        self._names = set(init_info.names)

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        # The base class synchronizes the accelerator afterwards, which must not be reached on a CPU.
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: HostUpdateInfo) -> None:
        with safe_open(update_info.path, framework="pt", device="cpu") as file:
            received = set(file.keys())
            if received != self._names:
                raise RuntimeError(
                    f"the weight update has other parameters than announced: missing {sorted(self._names - received)}, "
                    f"unexpected {sorted(received - self._names)}"
                )
            expected = {name for name, _ in self.model.named_parameters()}
            loaded = self.model.load_weights((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118
        missing = {name for name in expected - (loaded or expected) if not self._is_tied_head(name)}
        if missing:
            raise RuntimeError(f"the weight update left parameters of the engine untouched: {sorted(missing)}")

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        head = getattr(self.model, "lm_head", None)
        if self._is_tied_head("lm_head.weight") and head is not None and hasattr(head, "quant_method"):
            # The reload has given the embedding its new values, but a tied head on a CPU holds a packed copy of the old
            # ones (measured: an error of 1.6 nats): tie it again and pack it again.
            head.weight = self.model.model.embed_tokens.weight
            head.quant_method.process_weights_after_loading(head)

    def _is_tied_head(self, name: str) -> bool:
        return name == "lm_head.weight" and bool(
            getattr(self.model_config.hf_text_config, "tie_word_embeddings", False)
        )

    def shutdown(self) -> None:
        self._names = set()


def open_trainer_side(plan: TransferPlan, client: FleetClient, policy: torch.nn.Module, rank: int) -> Any:
    """Build and connect the learner's side of the transfer; a collective over the learner's ranks.

    The group counts rank 0 of the learner and every engine process (nccl).
    """
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

    register()
    info: TrainerInitInfo
    if plan.backend == "host":
        info = HostTrainerInitInfo(rank=rank, folder=plan.folder)
    elif plan.backend == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        processes = 1 + sum(member.processes for member in plan.members)
        info = NCCLTrainerInitInfo(rank=rank, master_address=plan.address, master_port=plan.port, world_size=processes)
    else:
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        info = IPCTrainerInitInfo(rank=rank, packed=True)
    source = ParameterSource(policy, rank=rank, keep="all" if plan.backend == "ipc" else "rank0")
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
