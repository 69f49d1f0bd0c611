"""`rayzero train` with `method: reward_model`: training put together from a session's parts."""

from collections.abc import Callable
from typing import Any

from cli.prepare import Prepared
from cli.recorder import Recorder
from cli.session import Session
from configs.run import RewardModelRun
from data.reward_card import RewardCard, write_card
from trainers.reward_model import build_reward_model_summary, optimizer_steps, train_reward_model

MODEL_FOLDER = "reward_model"


async def run_reward_model(
    prepared: Prepared,
    run: RewardModelRun,
    session: Session,
    recorder: Recorder,
    stop_requested: Callable[[], bool],
) -> dict[str, Any]:
    """Train, save `checkpoints/final/reward_model` with its card, and sum up."""
    examples = prepared.examples
    assert examples is not None
    recorder.total_steps = optimizer_steps(run, len(examples.train))
    recorder.stage(f"training an {examples.kind} model on {len(examples.train)} examples".replace("an p", "a p"))
    result = await train_reward_model(run, examples, session.learner, recorder, stop_requested=stop_requested)
    folder = prepared.folder / "checkpoints" / "final"
    folder.mkdir(parents=True, exist_ok=True)
    await session.learner.export(folder / MODEL_FOLDER)
    card = RewardCard(examples.kind, examples.separators, run.policy.max_model_len, run.policy.dtype)
    write_card(folder / MODEL_FOLDER, card)
    return build_reward_model_summary(run, examples, result, checkpoint=str(folder / MODEL_FOLDER))
