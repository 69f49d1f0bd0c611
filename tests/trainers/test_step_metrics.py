import pytest

from data.records import SyncReport
from tests.trainers.builders import scored_group
from trainers.batching import StepData
from trainers.step_metrics import StepClock, batch_metrics, group_metrics, sample_rows, sync_metrics

pytestmark = pytest.mark.unit


class HandClock:
    def __init__(self) -> None:
        self.t = 0.0

    def __call__(self) -> float:
        return self.t

    def pass_by(self, seconds: float) -> None:
        self.t += seconds


def test_each_moment_of_a_step_has_one_share_and_they_sum_to_1():
    hand = HandClock()
    clock = StepClock(hand)
    hand.pass_by(1)  # nothing is in flight
    clock.sampling(+1)
    hand.pass_by(2)
    clock.scoring(+1)
    clock.sampling(-1)
    hand.pass_by(3)
    clock.enter("train")
    clock.scoring(-1)
    clock.sampling(+1)
    hand.pass_by(4)  # sampling goes on under training
    clock.enter("sync")
    hand.pass_by(5)
    clock.enter("busy")
    hand.pass_by(5)  # an evaluation
    shares = clock.close()
    expected = {"generate": 2, "reward": 3, "train": 4, "sync": 5, "wait": 6}
    assert shares == {f"time/{k}_share": pytest.approx(v / 20) for k, v in expected.items()} | {"time/step_s": 20}
    clock.enter("ready")
    hand.pass_by(2)
    assert clock.close()["time/generate_share"] == 1.0


def test_group_metrics_count_scored_completions_and_whole_groups():
    groups = [
        scored_group(
            0,
            [1.0, 0.0, None],
            versions=[[0] * 4, [0] * 2, [0] * 6],
            parts=[{"format": 1.0}, {"format": 0.0}, {}],
        ),
        scored_group(1, [0.5, 0.5], tokens=[[1, 2, 3], [1, 2, 3]], parts=[{"format": 1.0}, {"format": 1.0}]),
    ]
    metrics = group_metrics(groups)
    assert metrics["reward/mean"] == pytest.approx(0.5)
    assert metrics["reward/std"] == pytest.approx((0.5 / 4) ** 0.5)
    assert metrics["reward/correct"] == pytest.approx(1 / 4)
    assert metrics["reward/part_format"] == pytest.approx(3 / 4)
    assert metrics["group/zero_variance_share"] == 0.5
    assert metrics["group/unique_completion_share"] == pytest.approx(4 / 5)
    assert metrics["completion/length_mean"] == pytest.approx(18 / 5)
    assert metrics["completion/length_max"] == 6
    assert metrics["completion/cut_share"] == 0
    assert group_metrics([]) == {}
    assert "reward/mean" not in group_metrics([scored_group(0, [None, None])])


def test_cut_share_counts_completions_that_hit_the_limit():
    groups = [scored_group(0, [1.0], finish="length"), scored_group(1, [1.0])]
    assert group_metrics(groups)["completion/cut_share"] == 0.5


def test_masked_share_is_of_valid_tokens():
    data = StepData(
        (),
        {},
        sampled_tokens=20,
        trained_tokens=6,
        stale_tokens=2,
        staleness_mean=0.5,
        staleness_max=2,
        trained_length_mean=3.0,
    )
    assert batch_metrics(data)["staleness/masked_token_share"] == 0.25


def test_a_sync_without_a_probe_says_nothing_of_its_error():
    assert "sync/probe_error" not in sync_metrics(SyncReport(1, 2, 0.5, 0.1, 100, None))
    assert sync_metrics(SyncReport(1, 2, 0.5, 0.1, 100, 1e-6))["sync/probe_error"] == 1e-6


def test_sample_rows_show_many_prompts_before_many_completions():
    rows = sample_rows([scored_group(0, [1.0, 0.0]), scored_group(1, [0.0, 1.0])], 3)
    assert [(row["group_id"], row["completion"]) for row in rows] == [(0, "text 0"), (1, "text 0"), (0, "text 1")]
