"""The rules across fields that the rubric has: its parts, their options, and the actors that apply it."""

from collections.abc import Callable, Iterator

from configs.judge import JudgeOptions
from configs.prompts import ReasoningGymPrompts, RowPrompts
from configs.rewards import RewardPart, Rewards, option_problems
from configs.run import AnyRun, GrpoRun, StarRun

Problems = Iterator[str]


def plugin_is_named_when_used(run: AnyRun) -> Problems:
    """A reward of type `plugin` names its function, and no other does."""
    for index, part in enumerate(run.rewards.parts if run.rewards else ()):
        place = f"rewards.parts.{index}.plugin"
        if part.type == "plugin" and (part.plugin is None or part.plugin.count(":") != 1):
            yield f"{place} = {part.plugin or 'null'}: a reward of type `plugin` needs it; write `module:function`"
        if part.type != "plugin" and part.plugin is not None:
            yield f"{place} = {part.plugin}: only `type: plugin` has it, and this is `{part.type}`; remove it"


def reward_options_are_known(run: AnyRun) -> Problems:
    """A reward's options are those that docs/rewards.md lists for its type; `cosine_length` is not the first part."""
    for index, part in enumerate(run.rewards.parts if run.rewards else ()):
        for problem in option_problems(part):
            yield f"rewards.parts.{index}.options.{problem}"
        if part.type == "judge" and run.rewards:
            yield from _judge_has_time(index, part, run.rewards)
    if run.rewards and run.rewards.parts[0].type == "cosine_length":
        yield (
            "rewards.parts.0.type = cosine_length: it scores by whether the first part is correct; "
            "put the part that decides correctness first, with weight 0 if it should not add to the sum"
        )


def _judge_has_time(index: int, part: RewardPart, rewards: Rewards) -> Problems:
    deadline_s = part.options.get("deadline_s", JudgeOptions.model_fields["deadline_s"].default)
    if isinstance(deadline_s, int | float) and deadline_s >= rewards.timeout_s:
        yield (
            f"rewards.parts.{index}.options.deadline_s = {deadline_s:g}: a group is given up after rewards.timeout_s = "
            f"{rewards.timeout_s:g} s, before the judge is; raise rewards.timeout_s above it, or lower deadline_s"
        )


def parts_name_reference_columns(run: AnyRun) -> Problems:
    """A reward part that scores `only` some problems tells them by a reference column of the training rows."""
    if run.rewards is None or not isinstance(run, GrpoRun | StarRun):
        return
    columns = run.prompts.reference_columns if isinstance(run.prompts, RowPrompts) else ()
    for index, part in enumerate(run.rewards.parts):
        for column in part.only:
            if column not in columns:
                has = f"its reference_columns are {', '.join(columns)}" if columns else "generated ones have no columns"
                yield (
                    f"rewards.parts.{index}.only.{column} = {part.only[column]}: the training problems have no column "
                    f"`{column}` ({has}); add it to prompts.reference_columns, or remove the key"
                )


def reasoning_gym_scores_its_own_problems(run: AnyRun) -> Problems:
    """The reward `reasoning_gym` needs prompts of type `reasoning_gym`, in training and in evaluation."""
    for index, part in enumerate(run.rewards.parts if run.rewards else ()):
        if part.type != "reasoning_gym":
            continue
        sources = {"prompts": run.prompts} if isinstance(run, GrpoRun | StarRun) else {}
        sources |= {"evaluation.prompts": run.evaluation.prompts} if run.evaluation else {}
        for place, source in sources.items():
            if not isinstance(source, ReasoningGymPrompts):
                yield (
                    f"rewards.parts.{index}.type = reasoning_gym: it knows only the problems of that package, and "
                    f"{place}.type is `{source.type}`; use `reasoning_gym` there, or another reward"
                )


def reward_actors_grow_upwards(run: AnyRun) -> Problems:
    """`rewards.max_actors` is not below `rewards.actors`."""
    rewards = run.rewards
    if rewards and rewards.max_actors is not None and rewards.max_actors < rewards.actors:
        yield (
            f"rewards.max_actors = {rewards.max_actors}: below rewards.actors {rewards.actors}, which are kept always; "
            "raise it, or leave it out for a number that stays"
        )


REWARD_RULES: tuple[Callable[[AnyRun], Problems], ...] = (
    plugin_is_named_when_used,
    parts_name_reference_columns,
    reward_options_are_known,
    reasoning_gym_scores_its_own_problems,
    reward_actors_grow_upwards,
)
