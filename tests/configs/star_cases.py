"""Configs of STaR that break a rule, for test_rules.py."""

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN_STAR: list[tuple[str, str, list[str], str, str, str]] = [
    (
        "tuning_is_shared_evenly",
        "demo_star",
        ["learner.ranks=3", "cold_start=[]"],
        "star.tuning.sequences_per_step = 32",
        "not divisible by learner.ranks 3",
        "such as 33",
    ),
    (
        "star_evaluates_and_saves_by_iteration",
        "demo_star",
        ["evaluation.every_steps=5"],
        "evaluation.every_steps = 5",
        "after every iteration",
        "remove",
    ),
    (
        "star_evaluates_and_saves_by_iteration",
        "demo_star",
        ["checkpoints.every_steps=5"],
        "checkpoints.every_steps = 5",
        "after every iteration",
        "remove",
    ),
    (
        "star_evaluates_and_saves_by_iteration",
        "demo_star",
        ["evaluation=null"],
        "star.patience = 1",
        "nobody can tell",
        "set it to 0",
    ),
    (
        "hints_can_be_given",
        "demo_star",
        ["prompts={type: rows, path: x.jsonl, template: raw}"],
        "star.rationalization",
        "prompts.hint does not say how",
        "set it to null",
    ),
    (
        "hints_can_be_given",
        "demo_star",
        ["prompts={type: rows, path: x.jsonl, template: raw, hint: 'it is {answer}'}"],
        "prompts.hint = it is {answer}",
        "must show the problem and the answer",
        "write `{problem}` and one of `{answer}`",
    ),
    ("sampling_is_not_truncated", "demo_star", ["rollout.top_k=20"], "rollout.top_k = 20", "renormalise", "off is 0"),
    (
        "splits_do_not_overlap",
        "demo_star",
        ["prompts.split=held_out"],
        "prompts.split = held_out",
        "not train",
        "`train`",
    ),
]
