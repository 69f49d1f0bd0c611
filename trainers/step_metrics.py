"""The loop's metrics of one step: where the time went, and what the groups were like.

Populations: reward/*, group/*, thinking/*, completion/length* and cut_share are over every group that left the loop at
this step, trained or rejected, so that filtering does not colour them; staleness/* is over the tokens of the step's
batch.

Legend: C completions, R completions with a score.
"""

import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Literal

import numpy as np

from data.records import ScoredGroup, SyncReport
from data.thinking import UNKNOWN_TAGS, ThoughtTags
from trainers.batching import StepData
from trainers.thinking_metrics import thinking_metrics

Share = Literal["generate", "reward", "train", "sync", "wait"]
Phase = Literal["train", "sync", "ready", "busy"]


class StepClock:
    """Gives each moment of a step to one share, so that the shares of a step sum to 1.

    train and sync: the learner steps, its weights are published. Otherwise the learner waits for groups: generate
    while any is being sampled, reward while the last ones are being scored. wait is the rest: evaluation,
    checkpoints, the loop's own work, and nothing to wait for.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._phase: Phase = "ready"
        self._sampling = 0
        self._scoring = 0
        self._seconds: dict[Share, float] = dict.fromkeys(("generate", "reward", "train", "sync", "wait"), 0.0)
        self._since = now()

    def enter(self, phase: Phase) -> None:
        """What the learner does from now on; `ready` waits for groups, `busy` is anything not timed on its own."""
        self._account()
        self._phase = phase

    def sampling(self, change: int) -> None:
        """So many more groups (or fewer) are being sampled."""
        self._account()
        self._sampling += change

    def scoring(self, change: int) -> None:
        """So many more groups (or fewer) are being scored."""
        self._account()
        self._scoring += change

    def close(self) -> dict[str, float]:
        """`time/*` since the last close; step_s in seconds."""
        self._account()
        step_s = sum(self._seconds.values())
        shares = {f"time/{share}_share": s / step_s if step_s else 0.0 for share, s in self._seconds.items()}
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        return shares | {"time/step_s": step_s}

    def _account(self) -> None:
        now = self._now()
        self._seconds[self._share()] += now - self._since
        self._since = now

    def _share(self) -> Share:
        if self._phase == "train" or self._phase == "sync":
            return self._phase
        if self._phase == "busy":
            return "wait"
        if self._sampling:
            return "generate"
        return "reward" if self._scoring else "wait"


def group_metrics(groups: Seq[ScoredGroup], thought_tags: ThoughtTags = UNKNOWN_TAGS) -> dict[str, float]:
    """reward/*, group/*, completion/* and thinking/* of groups as they were sampled; empty without groups."""
    completions = [c for scored in groups for c in scored.group.completions]
    if not completions:
        return {}
    verdicts = [v for scored in groups for v in scored.verdicts if v.score is not None]
    lengths_C = np.array([len(c.token_ids) for c in completions])
    unique = sum(len({c.token_ids.tobytes() for c in scored.group.completions}) for scored in groups)
    metrics = {
        "group/zero_variance_share": float(np.mean([_all_equal(scored) for scored in groups])),
        "group/unique_completion_share": unique / len(completions),
        "completion/length_mean": float(lengths_C.mean()),
        "completion/length_max": float(lengths_C.max()),
        "completion/cut_share": sum(c.finish_reason == "length" for c in completions) / len(completions),
        "reward/queue_s_mean": float(np.mean([scored.queue_s for scored in groups])),
        "reward/run_s_mean": float(np.mean([scored.reward_s - scored.queue_s for scored in groups])),
    }
    metrics |= {f"thinking/{name}": value for name, value in thinking_metrics(groups, thought_tags).items()}
    for error in ("infra_error", "verifier_error"):
        failed = sum(v.outcome == error for scored in groups for v in scored.verdicts)
        metrics[f"reward/{error}_share"] = failed / len(completions)
    if not verdicts:
        return metrics
    rewards_R = np.array([v.score for v in verdicts], dtype=np.float64)
    parts: dict[str, list[float]] = {}
    for verdict in verdicts:
        for name, score in verdict.parts.items():
            parts.setdefault(name, []).append(score)
    return (
        metrics
        | {
            "reward/mean": float(rewards_R.mean()),
            "reward/std": float(rewards_R.std()),
            "reward/correct": sum(v.correct for v in verdicts) / len(verdicts),
        }
        | {f"reward/part_{name}": float(np.mean(scores)) for name, scores in parts.items()}
    )


def batch_metrics(data: StepData) -> dict[str, float]:
    """staleness/* and completion/trained_length_mean of a step's batch."""
    valid_tokens = data.trained_tokens + data.stale_tokens
    return {
        "staleness/mean": data.staleness_mean,
        "staleness/max": float(data.staleness_max),
        "staleness/masked_token_share": data.stale_tokens / valid_tokens if valid_tokens else 0.0,
        "completion/trained_length_mean": data.trained_length_mean,
    }


def sync_metrics(report: SyncReport) -> dict[str, float]:
    """sync/* of a weight update, and the workers that took part."""
    metrics = {
        "sync/seconds": report.sync_s,
        "sync/pause_s": report.pause_s,
        "sync/bytes": float(report.bytes_sent),
        "rollout/workers": float(report.workers),
    }
    return metrics if report.probe_error is None else metrics | {"sync/probe_error": report.probe_error}


def sample_rows(groups: Seq[ScoredGroup], limit: int) -> list[dict[str, object]]:
    """The first completion of each of the first groups, then the second of each, for people to read."""
    size = max((len(scored.verdicts) for scored in groups), default=0)
    picks = [(scored, i) for i in range(size) for scored in groups if i < len(scored.verdicts)]
    return [
        {
            "group_id": scored.group.group_id,
            "prompt": scored.group.prompt.text,
            "completion": scored.group.completions[i].text,
            "score": scored.verdicts[i].score,
            "correct": scored.verdicts[i].correct,
            "tokens": len(scored.group.completions[i].token_ids),
            "detail": scored.verdicts[i].detail,
        }
        for scored, i in picks[:limit]
    ]


def _all_equal(scored: ScoredGroup) -> bool:
    rewards_G = scored.rewards_G
    rewards_R = rewards_G[np.isfinite(rewards_G)]
    return bool(len(rewards_R)) and bool((rewards_R == rewards_R[0]).all())
