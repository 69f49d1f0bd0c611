"""The file that carries the weights, and the order and size in which parameters are gathered into it."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import ParamMeta

from actors import weight_transfer
from actors.weight_transfer import FlatWeights, HostTrainerInitInfo, HostTrainerWeightTransferEngine, ParameterSource

pytestmark = pytest.mark.unit


class Policy(torch.nn.Module):
    """Two matrices of different types, a bias, and a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.norm = torch.nn.Linear(3, 7, dtype=torch.bfloat16)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def changed(policy: Policy) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_()
    return {name: parameter.detach() for name, parameter in policy.named_parameters()}


def test_a_source_gives_each_parameter_once_in_the_order_of_its_metadata():
    policy = Policy()
    source = ParameterSource(policy, rank=0)
    given = dict(source)
    assert [meta.name for meta in source.metadata()] == list(given) == ["embed.weight", "norm.weight", "norm.bias"]
    for meta in source.metadata():
        assert (meta.dtype, meta.shape) == (given[meta.name].dtype, tuple(given[meta.name].shape))
    assert not any(tensor.requires_grad for tensor in given.values())
    assert list(dict(source)) == list(given), "it can be read again"


class Sharded(torch.nn.Module):
    """Parameters as ZeRO-3 leaves them: empty, with their real shape in attributes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        for index, size in enumerate(sizes):
            parameter: Any = torch.nn.Parameter(torch.empty(0))
            parameter.ds_id, parameter.ds_numel, parameter.ds_shape = index, size, (size,)
            self.register_parameter(f"p{index}", parameter)


@pytest.fixture
def gathers(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What each gather was asked for; inside it the parameters are whole, and afterwards they are empty again."""
    seen: list[list[int]] = []
    open_now: list[int] = []

    class Gathered:
        def __init__(self, parameters: list[Any]) -> None:
            self._parameters = parameters

        def __enter__(self) -> None:
            assert not open_now, "gathers must not be nested"
            open_now.append(1)
            seen.append([parameter.ds_id for parameter in self._parameters])
            for parameter in self._parameters:
                parameter.data = torch.full((parameter.ds_numel,), float(parameter.ds_id))

        def __exit__(self, *_: object) -> None:
            open_now.pop()
            for parameter in self._parameters:
                parameter.data = torch.empty(0)

    deepspeed = SimpleNamespace(zero=SimpleNamespace(GatheredParameters=Gathered))
    monkeypatch.setitem(sys.modules, "deepspeed", deepspeed)  # the real one takes seconds to import
    return seen


def test_shards_are_gathered_in_flat_groups_below_the_cap(gathers: list[list[int]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weight_transfer, "GATHER_GROUP_BYTES", 40)  # ten numbers
    source = ParameterSource(Sharded(4, 6, 1, 30, 2, 3), rank=0)
    given = {name: tensor.clone() for name, tensor in source}
    assert gathers == [[0, 1], [2], [3], [4, 5]], "one larger than the cap goes alone"
    assert [meta.shape for meta in source.metadata()] == [(4,), (6,), (1,), (30,), (2,), (3,)]
    for index, size in enumerate((4, 6, 1, 30, 2, 3)):
        torch.testing.assert_close(given[f"p{index}"], torch.full((size,), float(index)))


@pytest.mark.parametrize(("rank", "keep", "kept"), [(0, "rank0", True), (1, "rank0", False), (1, "all", True)])
def test_every_rank_gathers_and_only_those_that_send_keep(gathers: list[list[int]], rank: int, keep: Any, kept: bool):
    given = dict(ParameterSource(Sharded(4, 6), rank=rank, keep=keep))
    assert gathers == [[0, 1]]
    assert [len(tensor) for tensor in given.values()] == ([4, 6] if kept else [0, 0])


def test_the_file_is_a_safetensors_file_that_is_refilled_in_place(tmp_path: Path):
    policy = Policy()
    source = ParameterSource(policy, rank=0)
    weights = FlatWeights(tmp_path / "slot", source.metadata())
    assert (tmp_path / "slot").stat().st_size == weights.nbytes == len(weights.buffer)
    for _ in range(2):
        expected = changed(policy)
        weights.fill(source)
        read = load_file(tmp_path / "slot")
        assert set(read) == set(expected)
        for name, tensor in expected.items():
            assert torch.equal(read[name], tensor), name


def test_a_source_with_other_parameters_than_the_layout_is_refused(tmp_path: Path):
    source = ParameterSource(Policy(), rank=0)
    missing_one = FlatWeights(tmp_path / "a", source.metadata()[:-1])
    with pytest.raises(KeyError, match=r"norm\.bias"):
        missing_one.fill(source)
    one_more = FlatWeights(tmp_path / "b", [*source.metadata(), ParamMeta("extra", torch.float32, (2,))])
    with pytest.raises(RuntimeError, match="gave 3 parameters, the layout has 4"):
        one_more.fill(source)


class Engines:
    """Satisfies VLLMWeightSyncClient: reads the file when told to, as an engine does."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.received: list[dict[str, torch.Tensor]] = []
        self.paths: list[str] = []

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.names = init_info["names"]

    def start_weight_update(self) -> None:
        self.journal.append("start")

    def update_weights(self, update_info: Any) -> None:
        self.journal.append("update")
        self.paths.append(update_info["path"])
        self.received.append({name: tensor.clone() for name, tensor in load_file(update_info["path"]).items()})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.journal.append("finish")


def test_host_sends_through_two_files_in_turn_and_leaves_none_behind(tmp_path: Path):
    policy, engines = Policy(), Engines()
    source = ParameterSource(policy, rank=0)
    info = HostTrainerInitInfo(rank=0, folder=str(tmp_path / "shm"))
    sender = HostTrainerWeightTransferEngine.trainer_init(info, client=engines, source=source)
    assert engines.names == ["embed.weight", "norm.weight", "norm.bias"]
    for update in range(4):
        expected = changed(policy)
        sender.send_weights()
        assert torch.equal(engines.received[update]["norm.weight"], expected["norm.weight"])
        assert str(sender.current.path) == engines.paths[update]
    assert engines.journal == ["start", "update", "finish"] * 4
    first, second = engines.paths[:2]
    assert first != second
    assert engines.paths == [first, second, first, second], "a late reader still finds the version before"
    sender.shutdown()
    assert not (tmp_path / "shm").exists()


def test_a_rank_that_does_not_send_only_takes_part_in_the_gathers(gathers: list[list[int]], tmp_path: Path):
    engines = Engines()
    info = HostTrainerInitInfo(rank=1, folder=str(tmp_path / "shm"))
    source = ParameterSource(Sharded(4, 6), rank=1)
    sender = HostTrainerWeightTransferEngine.trainer_init(info, client=engines, source=source)
    sender.send_weights()
    sender.shutdown()
    assert gathers == [[0, 1]]
    assert engines.journal == []
    assert not (tmp_path / "shm").exists()


def test_host_without_a_source_is_refused():
    with pytest.raises(ValueError, match="needs a WeightSource"):
        HostTrainerWeightTransferEngine.trainer_init(HostTrainerInitInfo(rank=0, folder="/"), client=Engines())
