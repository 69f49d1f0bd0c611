"""The rules across fields of runs that train a model that scores, that label steps, or that use such a model."""

from collections.abc import Callable, Iterator, Set
from pathlib import Path

from configs.policy import FolderPolicy, ScratchPolicy
from configs.reward_model import LabelledRows, PairRows, RewardModelOptions, RowSolutions, StepRows
from configs.rewards import reward_models
from configs.run import AnyRun, RewardModelRun, StepLabelsRun

Problems = Iterator[str]


def examples_are_shared_evenly(run: AnyRun) -> Problems:
    """The examples of a reward model's step are a multiple of learner.ranks."""
    if isinstance(run, RewardModelRun) and run.examples_per_step % run.learner.ranks:
        ranks = run.learner.ranks
        yield (
            f"examples_per_step = {run.examples_per_step}: not divisible by learner.ranks {ranks}, so ranks would "
            f"idle; use a multiple, such as {-(-run.examples_per_step // ranks) * ranks}"
        )


def a_pair_fits_a_microbatch(run: AnyRun) -> Problems:
    """Both responses of a preference pair fit one forward pass, for their scores are compared."""
    if not isinstance(run, RewardModelRun) or not isinstance(run.examples, PairRows):
        return
    budget, longest = run.learner.tokens_per_microbatch, run.policy.max_model_len
    if longest <= budget < 2 * longest:
        yield (
            f"learner.tokens_per_microbatch = {budget}: a pair may have 2 x policy.max_model_len {longest} tokens and "
            f"is never split; raise it to at least {2 * longest} or lower policy.max_model_len"
        )


def a_score_model_saves_at_the_end(run: AnyRun) -> Problems:
    """Reward models and step labels are written when they are done: there is no interval of checkpoints."""
    if isinstance(run, RewardModelRun | StepLabelsRun) and run.checkpoints.every_steps:
        yield (
            f"checkpoints.every_steps = {run.checkpoints.every_steps}: `method: {run.method}` saves at the end; "
            "remove the key"
        )


def steps_are_completed_by_a_trained_policy(run: AnyRun) -> Problems:
    """Step labels come from a policy that can solve the problems, which is a folder."""
    if isinstance(run, StepLabelsRun) and not isinstance(run.policy, FolderPolicy):
        yield (
            "policy.type = scratch: completions of random weights label every step wrong; "
            "use `type: folder` and the folder of a trained policy"
        )


def score_data_can_be_read(run: AnyRun) -> Problems:
    """Files of examples and solutions end in .parquet or .jsonl; a policy from scratch has no chat template."""
    if isinstance(run, RewardModelRun):
        place, source = "examples", run.examples
    elif isinstance(run, StepLabelsRun):
        place, source = "step_labels.solutions", run.step_labels.solutions
    else:
        return
    if not isinstance(source, LabelledRows | PairRows | StepRows | RowSolutions):
        return
    if not source.path.endswith((".parquet", ".jsonl")):
        yield f"{place}.path = {source.path}: this is no file of rows; give a .parquet or .jsonl file"
    if isinstance(run.policy, ScratchPolicy) and source.template == "chat":
        yield (
            f"{place}.template = chat: a policy of `type: scratch` has no chat template; "
            "set it to `raw`, or use a policy of `type: folder`"
        )


def a_reward_model_does_not_decide_correctness(run: AnyRun) -> Problems:
    """A reward model is not the first part of the rubric; parts that name the same model serve it alike."""
    if not run.rewards:
        return
    if run.rewards.parts[0].type == "reward_model":
        yield (
            "rewards.parts.0.type = reward_model: its probabilities never reach 1, so nothing would count as correct; "
            "put the part that decides correctness first, with weight 0 if it should not add to the sum"
        )
    first: dict[str, RewardModelOptions] = {}
    for options in reward_models(run.rewards):
        other = first.setdefault(options.path, options)
        if options.model_copy(update={"aggregation": other.aggregation}) != other:
            yield (
                f"rewards.parts: two parts serve the reward model {options.path} with different cpus, gpus or "
                "tokens_per_batch, and one process serves both; give them the same"
            )


REWARD_MODEL_RULES: tuple[Callable[[AnyRun], Problems], ...] = (
    examples_are_shared_evenly,
    a_pair_fits_a_microbatch,
    a_score_model_saves_at_the_end,
    steps_are_completed_by_a_trained_policy,
    score_data_can_be_read,
    a_reward_model_does_not_decide_correctness,
)


def score_path_problems(run: AnyRun, promised: Set[str]) -> Problems:
    """Folders and files of examples and solutions that do not exist, but for those that will be made."""
    if isinstance(run, RewardModelRun):
        place, path = "examples", run.examples.path
    elif isinstance(run, StepLabelsRun):
        place, path = "step_labels.solutions", run.step_labels.solutions.path
    else:
        return
    if path not in promised and not Path(path).exists():
        yield f"{place}.path = {path}: there is no such file or folder (looked in {Path.cwd()}); correct the path"
