"""The rules across fields. Each is one function that yields a line per violation: key = value: the rule; the remedy.

A rule reads a run whose types are right and touches nothing outside it; files are checked in paths.py.
"""

from collections.abc import Callable, Iterator

from configs.distill_parts import parts_of
from configs.distill_rules import own_problems
from configs.engine_rules import (
    gpu_counts_are_whole,
    options_do_not_override_ours,
    scratch_heads_fit,
    transfer_backend_fits_the_gpus,
    zero_stage_fits,
)
from configs.policy import ScratchPolicy
from configs.prompts import (
    AdditionPrompts,
    CountdownPrompts,
    ProgramPrompts,
    ReasoningGymPrompts,
    RowPrompts,
    RowTraces,
)
from configs.resource_rules import node_labels_are_selectors
from configs.reward_model_rules import REWARD_MODEL_RULES
from configs.reward_rules import REWARD_RULES
from configs.run import AnyRun, DistillRun, GrpoRun, RejectionRun, SftRun, StarRun, StepLabelsRun, sources_of, stages_of
from configs.sandbox_rules import sandbox_service_has_a_token
from configs.star_rules import hints_can_be_given, star_evaluates_and_saves_by_iteration, tuning_is_shared_evenly
from configs.supervision_rules import rejection_can_judge, required_parts_are_in_the_rubric, supervision_has_one_length

Problems = Iterator[str]
_GENERATED = AdditionPrompts | CountdownPrompts | ProgramPrompts | ReasoningGymPrompts

# ------------------------------------------------------------------------------------------- sampling and algorithm


def sampling_is_not_truncated(run: AnyRun) -> Problems:
    """Training samples from the whole distribution: no top-p, top-k or min-p."""
    if isinstance(run, SftRun) or run.rollout is None:
        return
    for key, off in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
        value = getattr(run.rollout, key)
        if value != off:
            yield (
                f"rollout.{key} = {value}: training refuses truncated sampling, because the learner cannot renormalise "
                f"what the sampler cut off and its ratios would be wrong; remove the key (off is {off:g})"
            )


def groups_have_a_baseline(run: AnyRun) -> Problems:
    """Every advantage estimator compares completions of one prompt, so a group has at least two."""
    if not isinstance(run, GrpoRun) or run.algorithm.advantage == "reverse_kl":
        return
    size, least = run.rollout.group_size, run.algorithm.filters.min_valid_completions
    if size < 2:
        yield (
            f"rollout.group_size = {size}: the `{run.algorithm.advantage}` advantage compares the completions of a "
            "prompt and is always zero for one; use at least 2"
        )
    elif least > size:
        yield (
            f"algorithm.filters.min_valid_completions = {least}: no group of rollout.group_size {size} can have as "
            f"many, so all would be rejected; use {size} or less"
        )


def off_policy_range_is_not_empty(run: AnyRun) -> Problems:
    """IcePop and sequence masks accept weights between a minimum and a larger maximum."""
    if not isinstance(run, GrpoRun):
        return
    off_policy = run.algorithm.off_policy
    if off_policy.type in ("icepop", "sequence_mask") and off_policy.minimum >= off_policy.maximum:
        yield (
            f"algorithm.off_policy.minimum = {off_policy.minimum:g}: `{off_policy.type}` masks what is outside "
            f"[minimum, maximum], and maximum is {off_policy.maximum:g}; put minimum below it"
        )


def kl_has_type_and_coefficient(run: AnyRun) -> Problems:
    """A KL penalty has an estimator and a coefficient above zero, or neither."""
    if not isinstance(run, GrpoRun):
        return
    kl = run.algorithm.kl
    if kl.type == "none" and kl.coefficient:
        yield (
            f"algorithm.kl.coefficient = {kl.coefficient:g}: it has no effect while algorithm.kl.type is `none`; "
            "set the type to k3, or remove the coefficient"
        )
    if kl.type != "none" and not kl.coefficient:
        yield (
            f"algorithm.kl.type = {kl.type}: a reference model would run for a penalty times 0; "
            "set algorithm.kl.coefficient above 0, such as 1e-3, or the type to `none`"
        )


def reference_is_the_policy_that_training_starts_from(run: AnyRun) -> Problems:
    """A KL penalty refers to the policy that reinforcement learning starts from: with a cold start it is no folder."""
    if isinstance(run, GrpoRun) and run.cold_start and run.algorithm.kl.type != "none" and run.reference.path is None:
        yield (
            f"algorithm.kl.type = {run.algorithm.kl.type}: the reference model is read from the initial policy, which "
            "`cold_start` leaves behind, so the penalty would pull back to before it; run the cold start as a run of "
            "its own (`method: sft`) and start this one from its checkpoint, or set the type to `none`"
        )


# ------------------------------------------------------------------------------------------------------------ sizes


def completion_leaves_room_for_the_prompt(run: AnyRun) -> Problems:
    """Prompt and completion fit policy.max_model_len together."""
    if not run.rollout:
        return
    completion, longest = run.rollout.max_completion_tokens, run.policy.max_model_len
    if completion >= longest:
        yield (
            f"rollout.max_completion_tokens = {completion}: prompt and completion share policy.max_model_len "
            f"{longest}, so no token is left for the prompt; lower it below {longest} or raise policy.max_model_len"
        )
    if run.rewards and run.rewards.overlong_buffer_tokens >= completion:
        yield (
            f"rewards.overlong_buffer_tokens = {run.rewards.overlong_buffer_tokens}: the zone lies in the "
            f"completion, and rollout.max_completion_tokens is {completion}; lower it, or use 0 (off)"
        )


def sequence_fits_a_microbatch(run: AnyRun) -> Problems:
    """The longest sequence fits one forward pass of a learner rank, and of a reference rank."""
    if isinstance(run, RejectionRun | StepLabelsRun):  # they train nothing
        return
    longest = run.policy.max_model_len
    trains = not isinstance(run, RejectionRun | StepLabelsRun)
    budgets = {"learner": run.learner.tokens_per_microbatch} if trains else {}
    if isinstance(run, GrpoRun) and run.algorithm.needs_reference:
        budgets["reference"] = run.reference.tokens_per_microbatch
    for part, budget in budgets.items():
        if budget < longest:
            yield (
                f"{part}.tokens_per_microbatch = {budget}: one sequence may have policy.max_model_len {longest} tokens "
                f"and is never split; raise it to at least {longest} or lower policy.max_model_len"
            )


def ranks_share_a_step_evenly(run: AnyRun) -> Problems:
    """The sequences of a step are a multiple of learner.ranks."""
    ranks = run.learner.ranks
    for name, stage in stages_of(run):
        if stage.sequences_per_step % ranks:
            yield (
                f"{name}.sequences_per_step = {stage.sequences_per_step}: not divisible by learner.ranks {ranks}, "
                f"so ranks would idle; use a multiple, such as {_next_multiple(stage.sequences_per_step, ranks)}"
            )
    if isinstance(run, GrpoRun) and (sequences := run.prompts_per_step * run.rollout.group_size) % ranks:
        yield (
            f"prompts_per_step = {run.prompts_per_step}: times rollout.group_size {run.rollout.group_size} it gives "
            f"{sequences} sequences per step, not divisible by learner.ranks {ranks}; make it a multiple, such as "
            f"prompts_per_step {_next_multiple(run.prompts_per_step, ranks)}"
        )


def _next_multiple(value: int, of: int) -> int:
    return -(-value // of) * of


# ------------------------------------------------------------------------------------------------- policy and data


def vocabulary_fits_the_task(run: AnyRun) -> Problems:
    """A scratch vocabulary can spell its task: addition and programs in characters, countdown in numbers; no
    chat template."""
    policy = run.policy
    if not isinstance(policy, ScratchPolicy):
        return
    needed = {"addition": "characters", "countdown": "countdown", "programs": "characters"}
    for place, source in sources_of(run):
        if isinstance(source, RowPrompts | RowTraces):
            if source.template == "chat":
                yield (
                    f"{place}.template = chat: a policy of `type: scratch` has no chat template; "
                    "set it to `raw`, or use a policy of `type: folder`"
                )
        elif isinstance(source, ReasoningGymPrompts):
            yield (
                f"{place}.type = reasoning_gym: its questions are in words, which no vocabulary of a policy of `type: "
                "scratch` spells; use a policy of `type: folder`"
            )
        elif policy.vocabulary != needed[source.type]:
            yield (
                f"policy.vocabulary = {policy.vocabulary}: {place} of type `{source.type}` is written in the "
                f"vocabulary `{needed[source.type]}`; set policy.vocabulary to `{needed[source.type]}`"
            )


def splits_do_not_overlap(run: AnyRun) -> Problems:
    """Generated problems train from the `train` split and evaluate from `held_out`."""
    if (
        isinstance(run, GrpoRun | StarRun | RejectionRun)
        and isinstance(run.prompts, _GENERATED)
        and run.prompts.split != "train"
    ):
        yield f"prompts.split = {run.prompts.split}: held-out problems must not train the policy; set it to `train`"
    evaluated = run.evaluation.prompts if run.evaluation else None
    if isinstance(evaluated, _GENERATED) and evaluated.split != "held_out":
        yield (
            f"evaluation.prompts.split = {evaluated.split}: problems that may have been trained on do not show what "
            "was learned; set it to `held_out`"
        )


def row_files_are_parquet_or_jsonl(run: AnyRun) -> Problems:
    """Files of rows end in .parquet or .jsonl."""
    for place, source in sources_of(run):
        if isinstance(source, RowPrompts | RowTraces) and not source.path.endswith((".parquet", ".jsonl")):
            yield f"{place}.path = {source.path}: this is no file of rows; give a .parquet or .jsonl file"


def evaluation_has_what_it_needs(run: AnyRun) -> Problems:
    """Evaluation needs engines and rewards; greedy completions of one problem are all the same."""
    evaluation = run.evaluation
    if evaluation is None:
        return
    for key, section in (("rollout", run.rollout), ("rewards", run.rewards)):
        if section is None:
            yield f"{key} = null: `evaluation` needs it; add a `{key}` section or remove `evaluation`"
    if evaluation.temperature == 0 and evaluation.samples > 1:
        yield (
            f"evaluation.samples = {evaluation.samples}: at temperature 0 they would all be the same; "
            "use 1, or a temperature above 0"
        )


RULES: tuple[Callable[[AnyRun], Problems], ...] = (
    sampling_is_not_truncated,
    groups_have_a_baseline,
    off_policy_range_is_not_empty,
    kl_has_type_and_coefficient,
    reference_is_the_policy_that_training_starts_from,
    completion_leaves_room_for_the_prompt,
    sequence_fits_a_microbatch,
    ranks_share_a_step_evenly,
    scratch_heads_fit,
    vocabulary_fits_the_task,
    splits_do_not_overlap,
    row_files_are_parquet_or_jsonl,
    evaluation_has_what_it_needs,
    gpu_counts_are_whole,
    transfer_backend_fits_the_gpus,
    zero_stage_fits,
    options_do_not_override_ours,
    node_labels_are_selectors,
    *REWARD_RULES,
    sandbox_service_has_a_token,
    tuning_is_shared_evenly,
    star_evaluates_and_saves_by_iteration,
    hints_can_be_given,
    *REWARD_MODEL_RULES,
    supervision_has_one_length,
    rejection_can_judge,
    required_parts_are_in_the_rubric,
)


def find_problems(run: AnyRun) -> list[str]:
    """One line for each violation of each rule; of a distillation, for each of the runs that it is made of."""
    if isinstance(run, DistillRun):
        parts = [part.place(problem) for part in parts_of(run) for problem in find_problems(part.run)]
        return list(dict.fromkeys([*own_problems(run), *parts]))
    return [problem for rule in RULES for problem in rule(run)]
