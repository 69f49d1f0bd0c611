"""Configs of models that score, and of step labels, that break a rule, for test_rules.py."""

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN_SCORES: list[tuple[str, str, list[str], str, str, str]] = [
    (
        "examples_are_shared_evenly",
        "outcome_model_cpu",
        ["learner.ranks=3"],
        "examples_per_step = 64",
        "not divisible by learner.ranks 3",
        "such as 66",
    ),
    (
        "a_pair_fits_a_microbatch",
        "preference_model_cpu",
        ["learner.tokens_per_microbatch=200"],
        "learner.tokens_per_microbatch = 200",
        "never split",
        "at least 256",
    ),
    (
        "a_score_model_saves_at_the_end",
        "process_model_cpu",
        ["checkpoints.every_steps=5"],
        "checkpoints.every_steps = 5",
        "saves at the end",
        "remove the key",
    ),
    (
        "steps_are_completed_by_a_trained_policy",
        "step_labels_cpu",
        ["policy={type: scratch, vocabulary: characters}"],
        "policy.type = scratch",
        "every step wrong",
        "trained policy",
    ),
    (
        "score_data_can_be_read",
        "preference_model_cpu",
        ["examples={type: pairs, path: pairs.csv, template: raw}"],
        "examples.path = pairs.csv",
        "no file of rows",
        ".jsonl",
    ),
    (
        "score_data_can_be_read",
        "preference_model_cpu",
        ["examples={type: pairs, path: pairs.jsonl}"],
        "examples.template = chat",
        "no chat template",
        "`raw`",
    ),
    (
        "a_reward_model_does_not_decide_correctness",
        "demo",
        ["rewards.parts=[{type: reward_model, options: {path: runs/verifier}}]"],
        "rewards.parts.0.type = reward_model",
        "never reach 1",
        "first, with weight 0",
    ),
    (
        "a_reward_model_does_not_decide_correctness",
        "demo",
        [
            "rewards.parts=[{type: exact_number}, {type: reward_model, options: {path: a}}, "
            "{type: reward_model, options: {path: a, aggregation: last, tokens_per_batch: 100}}]"
        ],
        "rewards.parts",
        "the reward model a with different",
        "give them the same",
    ),
    ("sampling_is_not_truncated", "step_labels_cpu", ["rollout.top_k=9"], "rollout.top_k = 9", "renormalise", "is 0"),
]
