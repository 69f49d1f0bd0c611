"""Configs whose rubric breaks a rule, for test_rules.py."""

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN_REWARDS: list[tuple[str, str, list[str], str, str, str]] = [
    (
        "reward_actors_grow_upwards",
        "demo",
        ["rewards.actors=3", "rewards.max_actors=2"],
        "rewards.max_actors = 2",
        "below rewards.actors 3",
        "leave it out",
    ),
    (
        "reasoning_gym_scores_its_own_problems",
        "gsm8k_1gpu",
        ["rewards.parts.0.type=reasoning_gym", "evaluation.prompts={type: reasoning_gym, task: a, split: held_out}"],
        "rewards.parts.0.type = reasoning_gym",
        "prompts.type is `rows`",
        "another reward",
    ),
    (
        "plugin_is_named_when_used",
        "demo",
        ["rewards.parts.0.type=plugin"],
        "rewards.parts.0.plugin = null",
        "needs it",
        "module:function",
    ),
    (
        "plugin_is_named_when_used",
        "demo",
        ["rewards.parts.1.plugin=a:b"],
        "rewards.parts.1.plugin = a:b",
        "this is `format`",
        "remove it",
    ),
    (
        "reward_options_are_known",
        "demo",
        ["rewards.parts.1.options={prefx: x}"],
        "rewards.parts.1.options.prefx = 'x'",
        "has no option",
        "did you mean `prefix`",
    ),
    (
        "reward_options_are_known",
        "demo",
        ["rewards.parts.0.type=cosine_length"],
        "rewards.parts.0.type = cosine_length",
        "the first part is correct",
        "put the part that decides correctness first",
    ),
    (
        "reward_options_are_known",
        "demo",
        [
            "rewards.timeout_s=300",
            "rewards.parts.1={type: judge, options: {url: 'http://10.0.0.1/v1', model: m, rubric: good}}",
        ],
        "rewards.parts.1.options.url = 'http://10.0.0.1/v1'",
        "plain http",
        "use https",
    ),
    (
        "reward_options_are_known",
        "demo",
        ["rewards.parts.1={type: judge, options: {url: 'https://a/v1', model: m, rubric: good}}"],
        "rewards.parts.1.options.deadline_s = 120",
        "given up after rewards.timeout_s = 30 s",
        "raise rewards.timeout_s",
    ),
]
