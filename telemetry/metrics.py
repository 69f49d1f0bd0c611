"""Every metric that rayzero reports: its name, its unit, what it is a mean over, and one sentence.

Names are legal for MLflow as they stand. `python -m telemetry.metrics` writes docs/metrics.md from this table; a test
holds the two together.
"""

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

DOCS = Path(__file__).parents[1] / "docs" / "metrics.md"

Weighting = Literal["token", "sequence", "completion", "group", "problem", "step", "run", "reading"]

MAX_NAME_LENGTH = 250  # of MLflow's keys


class UnknownMetric(ValueError):
    """A metric whose name is not in the table. The message names the nearest one."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. In a name, `<name>` stands for lower-case letters, digits and `_`; `<k>` and `<i>` for a number."""

    name: str
    unit: str  # "1" is a plain number; a share is in [0, 1]
    weighting: Weighting  # what the value is a mean, sum or count over, with equal weight for each
    meaning: str


METRICS = (
    Metric("train/loss", "1", "token", "Loss of the step with the configured aggregation; its gradient was applied."),
    Metric("train/grad_norm", "1", "step", "L2 norm of the gradient before clipping."),
    Metric("train/learning_rate", "1", "step", "Learning rate of the first parameter group."),
    Metric("train/tokens", "tokens", "step", "Response tokens with a weight other than 0, summed over the step."),
    Metric("train/tokens_per_s", "tokens/s", "step", "Prompt and response tokens trained per second of the step."),
    Metric("train/mismatch_kl", "nats", "token", "KL of sampler to learner, estimated (k3) on the sampled tokens."),
    Metric("train/ess", "share", "token", "Effective sample size of the importance weights, over the tokens."),
    Metric("train/ratio_max", "1", "token", "Largest ratio of learner to behaviour probability."),
    Metric("train/clip_share", "share", "token", "Tokens whose ratio was clipped by the loss."),
    Metric("train/correction_mask_share", "share", "token", "Tokens masked by the off-policy correction."),
    Metric("train/kl_reference", "nats", "token", "KL to the reference model, by the configured estimator."),
    Metric("train/accuracy", "share", "step", "Of models that score; reported as `reward_model/accuracy`."),
    Metric("train/skipped_steps", "steps", "run", "Optimizer steps skipped so far: their gradient was not finite."),
    Metric("sft/loss", "nats", "token", "Cross-entropy of a supervised step, per response token."),
    Metric("sft/grad_norm", "1", "step", "L2 norm of the gradient before clipping, supervised stages."),
    Metric("sft/learning_rate", "1", "step", "Learning rate of the first parameter group, supervised stages."),
    Metric("sft/tokens", "tokens", "step", "Response tokens of a supervised step."),
    Metric("sft/tokens_per_s", "tokens/s", "step", "Prompt and response tokens per second of a supervised step."),
    Metric("sft/held_out_loss", "nats", "token", "Loss on pairs that are not trained on, per response token."),
    Metric("sft/skipped_steps", "steps", "run", "Supervised steps skipped so far: their gradient was not finite."),
    Metric("reward/mean", "1", "completion", "Mean score of the completions that have one."),
    Metric("reward/std", "1", "completion", "Standard deviation of those scores."),
    Metric("reward/correct", "share", "completion", "Scored completions whose first reward part gave full score."),
    Metric("reward/part_<name>", "1", "completion", "Mean of one reward part, before its weight."),
    Metric("reward/infra_error_share", "share", "completion", "Completions without a verdict: the verifier failed."),
    Metric("reward/verifier_error_share", "share", "completion", "Completions whose reward raised: a bad reference."),
    Metric("reward/queue_s_mean", "s", "group", "Mean wait for a reward actor and for its answer to come back."),
    Metric("reward/run_s_mean", "s", "group", "Mean time that the rubric took."),
    Metric("reward/actors", "actors", "step", "Reward actors that score."),
    Metric("reward/groups_waiting", "groups", "step", "Groups that wait for a place at a reward actor."),
    Metric("reward/alarms", "alarms", "run", "Alarms of reward hacking so far; the run's log names each."),
    Metric("reward/retries", "calls", "run", "Scorings tried again so far, after an error of the infrastructure."),
    Metric("group/zero_variance_share", "share", "group", "Groups whose scores are all equal: no signal in them."),
    Metric("group/unique_completion_share", "share", "completion", "Distinct completions within their groups."),
    Metric("completion/length_mean", "tokens", "completion", "Mean length as sampled."),
    Metric("completion/length_max", "tokens", "completion", "Longest completion of the step."),
    Metric("completion/cut_share", "share", "completion", "Completions cut at the length limit."),
    Metric(
        "completion/trained_length_mean",
        "tokens",
        "sequence",
        "Mean of the tokens that gave gradient; below `completion/length_mean` when long answers are starved.",
    ),
    Metric("thinking/length_mean", "tokens", "completion", "Length of the thought; without tags, of the whole."),
    Metric("thinking/tagged_share", "share", "completion", "Completions with a thought, closed or cut."),
    Metric("thinking/self_check_share", "share", "completion", "Completions with a phrase that checks itself."),
    Metric("thinking/self_check_per_1000_words", "1", "step", "Such phrases per 1,000 words of all completions."),
    Metric("thinking/backtrack_share", "share", "completion", "Completions with a phrase that turns back."),
    Metric("thinking/backtrack_per_1000_words", "1", "step", "Such phrases per 1,000 words of all completions."),
    Metric(
        "thinking/mixed_language_share",
        "share",
        "completion",
        "Completions of whose words 5 % or more, and at least two, are not of their main language.",
    ),
    Metric("thinking/distinct_4gram_share", "share", "completion", "Distinct runs of 4 tokens; low: repetition."),
    Metric("staleness/mean", "versions", "token", "Learner version minus token version, of tokens that gave gradient."),
    Metric("staleness/max", "versions", "token", "Largest staleness of a token that gave gradient."),
    Metric("staleness/masked_token_share", "share", "token", "Tokens masked because they were too old."),
    Metric("rollout/groups_in_flight", "groups", "step", "Groups being sampled or scored when the step ended."),
    Metric("rollout/groups_buffered", "groups", "step", "Scored groups waiting for the learner when the step ended."),
    Metric("rollout/workers", "workers", "step", "Rollout workers that hold the newest version."),
    Metric("rollout/tokens_per_s", "tokens/s", "step", "Completion tokens that came back per second of the step."),
    Metric("rollout/samples_per_s", "samples/s", "step", "Completions that came back per second of the step."),
    Metric("time/generate_share", "share", "step", "Learner idle while groups were being sampled."),
    Metric("time/reward_share", "share", "step", "Learner idle while only scoring was left to do."),
    Metric("time/train_share", "share", "step", "Learner stepping."),
    Metric("time/sync_share", "share", "step", "New weights on their way to the rollout workers."),
    Metric("time/wait_share", "share", "step", "The rest: evaluation, checkpoints, nothing to wait for."),
    Metric("time/step_s", "s", "step", "Wall time since the end of the step before."),
    Metric("sync/seconds", "s", "step", "From the call to the last worker's resumption."),
    Metric("sync/pause_s", "s", "step", "Longest time that one worker did not sample."),
    Metric("sync/bytes", "bytes", "step", "Weights sent to each worker."),
    Metric("sync/probe_error", "nats", "token", "Largest logprob difference of engine and learner on a fixed prompt."),
    Metric("books/admitted", "groups", "run", "Groups admitted so far."),
    Metric("books/trained", "groups", "run", "Groups that were in the batch of a step so far."),
    Metric("books/rejected", "groups", "run", "Groups scored and left out so far."),
    Metric("books/failed", "groups", "run", "Groups that could not be sampled or scored so far."),
    Metric("books/aborted", "groups", "run", "Groups given up so far."),
    Metric("eval/accuracy", "share", "problem", "pass@1 on held-out problems."),
    Metric("eval/accuracy_low", "share", "problem", "Lower end of its 95 % Wilson interval."),
    Metric("eval/accuracy_high", "share", "problem", "Upper end of its 95 % Wilson interval."),
    Metric("eval/pass_at_<k>", "share", "problem", "Unbiased estimate of solving a problem within k completions."),
    Metric("eval/length_mean", "tokens", "completion", "Mean length of the evaluation's completions."),
    Metric("eval/format_share", "share", "completion", "Mean of the reward part named `format`."),
    Metric("eval/thinking_<name>", "as there", "completion", "`thinking/<name>` of the evaluation's completions."),
    Metric("eval/problems", "problems", "step", "Problems with at least one scored completion."),
    Metric("eval/failed_groups", "groups", "step", "Problems that could not be sampled or scored."),
    Metric("eval/seconds", "s", "step", "Wall time of the evaluation."),
    Metric("star/iteration", "1", "run", "Iterations of STaR finished so far."),
    Metric("star/solved_share", "share", "problem", "Problems with an accepted rationale sampled without a hint."),
    Metric("star/hint_solved_share", "share", "problem", "Of those asked again with a hint, problems then solved."),
    Metric("star/rationalized_share", "share", "sequence", "Training rationales that were made with a hint."),
    Metric("star/trained", "rationales", "step", "Rationales that the iteration was fine-tuned on."),
    Metric("star/wrong_share", "share", "completion", "Sampled rationales whose answer is wrong."),
    Metric("star/too_short_share", "share", "completion", "Right ones made with a hint and shorter than allowed."),
    Metric("star/duplicate_share", "share", "completion", "Right ones that repeat another of the same problem."),
    Metric("star/over_cap_share", "share", "completion", "Right ones above the most that are kept per problem."),
    Metric("star/failed_groups", "groups", "step", "Groups of the iteration that could not be sampled or scored."),
    Metric("star/sample_s", "s", "step", "From the iteration's first request to its last verdict."),
    Metric("star/tune_s", "s", "step", "Fine-tuning of the iteration."),
    Metric("star/wait_s", "s", "step", "Learner idle until the iteration's samples were there."),
    Metric("pipeline/wall_s", "s", "run", "Wall time of a stage, at the stage's number, in the pipeline's own run."),
    Metric(
        "reward_model/loss", "nats", "step", "Loss of a score model's step: mean over its labels, or over its pairs."
    ),
    Metric("reward_model/accuracy", "share", "step", "Labels, or pairs, of the step that were on the right side."),
    Metric("reward_model/tokens", "labels", "step", "Labels, or pairs, of the step."),
    Metric("reward_model/grad_norm", "1", "step", "L2 norm of the gradient before clipping."),
    Metric("reward_model/learning_rate", "1", "step", "Learning rate of the first parameter group."),
    Metric(
        "reward_model/tokens_per_s", "tokens/s", "step", "Prompt and response tokens trained per second of the step."
    ),
    Metric("reward_model/skipped_steps", "steps", "run", "Steps skipped so far: their gradient was not finite."),
    Metric("reward_model_eval/examples", "examples", "step", "Held-out solutions, or pairs."),
    Metric(
        "reward_model_eval/labels", "labels", "step", "Labels of held-out solutions: one each, or one for each step."
    ),
    Metric("reward_model_eval/problems", "problems", "step", "Held-out problems; training has seen none of them."),
    Metric("reward_model_eval/positive_share", "share", "sequence", "Held-out labels of one half or more."),
    Metric("reward_model_eval/loss", "nats", "sequence", "Mean loss of the held-out labels, or pairs."),
    Metric("reward_model_eval/accuracy", "share", "sequence", "Held-out labels, or pairs, on the right side."),
    Metric(
        "reward_model_eval/accuracy_<name>", "share", "sequence", "Ends of its 95 % interval, clustered by problem."
    ),
    Metric("reward_model_eval/auc", "share", "sequence", "Area under the ROC curve over the held-out labels."),
    Metric("reward_model_eval/auc_<name>", "share", "sequence", "Ends of its 95 % interval, bootstrap over problems."),
    Metric("reward_model_eval/ece", "share", "sequence", "Expected calibration error, ten bins of equal mass."),
    Metric(
        "reward_model_eval/ranking_accuracy",
        "share",
        "problem",
        "Right solution scored above wrong one, within a problem; of pairs, chosen above rejected.",
    ),
    Metric("reward_model_eval/ranking_accuracy_<name>", "share", "problem", "Ends of its 95 % interval."),
    Metric("reward_model_eval/ranking_problems", "problems", "step", "Problems with right and wrong solutions."),
    Metric(
        "reward_model_eval/solution_auc_<name>",
        "share",
        "sequence",
        "AUC of whole solutions by an aggregation of their steps; with `_low`, `_high` its 95 % interval.",
    ),
    Metric("reward_model_eval/wrong_solutions", "solutions", "step", "Held-out solutions with a step labelled wrong."),
    Metric("reward_model_eval/first_wrong_step_accuracy", "share", "sequence", "Of these, first wrong step found."),
    Metric("step_labels/solutions", "solutions", "run", "Solutions labelled so far."),
    Metric("step_labels/steps", "steps", "run", "Their steps."),
    Metric("step_labels/unlabelled_steps", "steps", "run", "Steps without a label: no room, or no verdict."),
    Metric("step_labels/hard_share", "share", "run", "Labelled steps from which any completion is right."),
    Metric("step_labels/soft_mean", "share", "run", "Mean over labelled steps of the share of right completions."),
    Metric(
        "step_labels/doubted_right_share", "share", "run", "Right solutions with a step before the last labelled 0."
    ),
    Metric(
        "step_labels/repaired_wrong_share", "share", "run", "Wrong solutions with no step before the last labelled 0."
    ),
    Metric("step_labels/completions_per_s", "samples/s", "run", "Completions judged per second."),
    Metric("rejection/problems", "problems", "run", "Problems tried so far."),
    Metric("rejection/rows", "rows", "run", "Completions kept so far."),
    Metric("rejection/solved_share", "share", "problem", "Problems with a kept completion, so far."),
    Metric("rejection/kept_share", "share", "completion", "Completions that were kept, so far."),
    Metric("rejection/wrong_share", "share", "completion", "Completions whose answer is wrong, so far."),
    Metric("rejection/unfit_share", "share", "completion", "Right ones below a score of rejection.require, so far."),
    Metric("rejection/cut_share", "share", "completion", "Acceptable ones but for their missing end, so far."),
    Metric("rejection/duplicate_share", "share", "completion", "Repetitions of a kept one of the same problem."),
    Metric("rejection/over_cap_share", "share", "completion", "Acceptable ones above the most kept per problem."),
    Metric("rejection/failed_groups", "groups", "run", "Groups that could not be sampled or scored so far."),
    Metric("rejection/row_length_mean", "tokens", "completion", "Mean length of the kept completions."),
    Metric("rejection/tokens_per_s", "tokens/s", "run", "Completion tokens sampled and verified per second."),
    Metric("system/cpu_percent", "percent", "reading", "CPU of the tracker's node, all cores together at 100."),
    Metric("system/memory_used_mib", "MiB", "reading", "Memory in use on that node, as the container sees it."),
    Metric("system/driver_rss_mib", "MiB", "reading", "Resident memory of the driver."),
    Metric("system/actors_rss_mib", "MiB", "reading", "Resident memory of the run's Ray processes and their children."),
    Metric("system/shared_memory_mib", "MiB", "reading", "In use on /dev/shm: Ray's object store and weight buffers."),
    Metric("system/disk_free_gib", "GiB", "reading", "Free space where the run is written."),
    Metric("system/gpu<i>_utilization_percent", "percent", "reading", "Time in which the GPU was busy."),
    Metric("system/gpu<i>_memory_mib", "MiB", "reading", "Memory in use on the GPU, by anyone."),
)


def _pattern(name: str) -> str:
    return re.escape(name).replace("<name>", "[a-z0-9_]+").replace("<k>", "[0-9]+").replace("<i>", "[0-9]+")


_KNOWN = re.compile("|".join(_pattern(metric.name) for metric in METRICS))


def check_name(name: str) -> str:
    """The name itself. Raises UnknownMetric when it is not in the table."""
    if _KNOWN.fullmatch(name):
        return name
    near = difflib.get_close_matches(name, [metric.name for metric in METRICS], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "add a row to METRICS in telemetry/metrics.py."
    raise UnknownMetric(f"Metric '{name}' is not in the table of metrics: {hint}")


@lru_cache(maxsize=4096)
def legal_name(name: str) -> str:
    """A name that MLflow takes: `[A-Za-z0-9_./ -]`, a clean relative path, at most 250 characters.

    Names of the table are returned as they are; others (a reward part of a plug-in, say) are mended, never refused,
    because no metric is worth a crashed run.
    """
    mended = re.sub(r"[^A-Za-z0-9_.\- /]", "_", name)
    parts = [part if part.strip(".") else "_" * len(part) for part in mended.split("/") if part]
    return "/".join(parts)[:MAX_NAME_LENGTH].rstrip("/") or "unnamed"


def reference_page() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Generated from `telemetry/metrics.py` by `python -m telemetry.metrics`. Every metric stands in",
        "`runs/<name>/metrics.jsonl` and in MLflow under the same name.",
        "",
        "*Over* says what the value is a mean, a sum or a count over, each with equal weight: a mean over tokens and a",
        "mean over sequences are different numbers. *Run* counts since the start of the run, over restarts too;",
        "*reading* is a reading of the machine on the interval `tracking.system_metrics_every_s`.",
    ]
    room = ""
    for metric in METRICS:
        prefix = metric.name.split("/")[0]
        if prefix != room:
            room = prefix
            lines += ["", f"## {room}", "", "| name | unit | over | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{metric.name}` | {metric.unit} | {metric.weighting} | {metric.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text(reference_page())
