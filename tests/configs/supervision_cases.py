"""Configs of supervised stages and of rejection sampling that break a rule, for test_rules.py."""

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN_SUPERVISION: list[tuple[str, str, list[str], str, str, str]] = [
    (
        "supervision_has_one_length",
        "demo",
        ["cold_start.0.epochs=2"],
        "cold_start.0.steps = 430",
        "both are given",
        "give one",
    ),
    (
        "supervision_has_one_length",
        "demo",
        ["cold_start.1.steps=null"],
        "cold_start.1.steps = null",
        "neither is given",
        "give one",
    ),
    (
        "supervision_has_one_length",
        "demo",
        ["cold_start.0.steps=null", "cold_start.0.epochs=2"],
        "cold_start.0.epochs = 2",
        "a generator never ends",
        "give `steps`",
    ),
    (
        "supervision_has_one_length",
        "demo",
        ["cold_start.0.held_out={share: 0.1}"],
        "cold_start.0.held_out.share = 0.1",
        "`traces` are generated",
        "give `held_out.traces`",
    ),
    (
        "supervision_has_one_length",
        "demo",
        ["cold_start.0.held_out={every_steps: 5}"],
        "cold_start.0.held_out",
        "neither is given",
        "give one",
    ),
    (
        "rejection_can_judge",
        "rejection_cpu",
        ["rewards=null"],
        "rewards = null",
        "what the rewards call correct",
        "set rejection.accept to `all`",
    ),
    (
        "required_parts_are_in_the_rubric",
        "rejection_cpu",
        ["rejection.require={format: 1.0}"],
        "rejection.require.format = 1",
        "their parts are exact_number",
        "remove the key",
    ),
]
