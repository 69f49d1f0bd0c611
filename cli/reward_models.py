"""What can be said against the reward models of a rubric before Ray starts."""

from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.rewards import reward_models
from configs.run import AnyRun
from data.reward_card import read_card


def check_reward_models(run: AnyRun, tokenizer: Any) -> None:
    """Every model is there, takes the policy's longest sequence, and reads token ids as the policy writes them.

    Raises ConfigError, and DataError for a folder that holds no reward model.
    """
    from transformers import AutoTokenizer

    problems: list[str] = []
    for options in reward_models(run.rewards) if run.rewards else ():
        card = read_card(Path(options.path))
        if card.max_tokens < run.policy.max_model_len:
            problems.append(
                f"rewards.parts: the reward model {options.path} takes {card.max_tokens} tokens, and "
                f"policy.max_model_len is {run.policy.max_model_len}; lower that, or train the model on longer examples"
            )
        theirs = AutoTokenizer.from_pretrained(options.path, local_files_only=True)
        if theirs.get_vocab() != tokenizer.get_vocab():
            problems.append(
                f"rewards.parts: the reward model {options.path} has another vocabulary than the policy, whose token "
                "ids it is given; train it from a policy of the same tokenizer"
            )
    if problems:
        raise ConfigError(run.name, problems)
