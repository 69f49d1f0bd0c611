"""Configs of a sandbox service that break a rule, for test_rules.py."""

# rule, recipe, overrides, then what its message must hold: the value, the rule, the remedy
BROKEN_SANDBOX: list[tuple[str, str, list[str], str, str, str]] = [
    (
        "sandbox_service_has_a_token",
        "code_cpu",
        ["rewards.sandbox.url=http://sandbox:8400"],
        "rewards.sandbox.url = http://sandbox:8400",
        "asks for a token",
        "token_file or",
    ),
    (
        "sandbox_service_has_a_token",
        "code_cpu",
        ["rewards.sandbox.url=http://sandbox:8400", "rewards.sandbox.token_file=/t", "rewards.sandbox.token_env=T"],
        "rewards.sandbox.url = http://sandbox:8400",
        "token_file and token_env says",
        "one of them",
    ),
    (
        "sandbox_service_has_a_token",
        "code_cpu",
        ["rewards.sandbox.token_env=T"],
        "rewards.sandbox.token_env = T",
        "no service",
        "set rewards.sandbox.url",
    ),
    (
        "sandbox_service_has_a_token",
        "code_cpu",
        ["rewards.sandbox.url=ftp://sandbox:8400", "rewards.sandbox.token_env=T"],
        "rewards.sandbox.url = ftp://sandbox:8400",
        "no address",
        "such as http",
    ),
    (
        "sandbox_service_has_a_token",
        "code_cpu",
        ["rewards.sandbox.url=http://sandbox:8400", "rewards.sandbox.token_env=T", "rewards.sandbox.workers=2"],
        "rewards.sandbox.workers = 2",
        "has its own",
        "--workers",
    ),
]
