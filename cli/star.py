"""`rayzero train` with `method: star`: the loop put together from a session's parts."""

from pathlib import Path

from cli.prepare import Prepared
from cli.recorder import Recorder
from cli.session import Session
from configs.run import StarRun
from data.store import RolloutStore
from data.thinking import ThoughtTags
from trainers.star import StarLoop

BASE_FOLDER = "base_policy"


def build_star_loop(prepared: Prepared, run: StarRun, session: Session, recorder: Recorder) -> StarLoop:
    """The loop of a session whose engines are up."""
    assert prepared.prompts is not None
    assert session.fleet is not None
    assert session.rewards is not None
    assert session.publisher is not None

    def announce(text: str, last_step: int) -> None:
        recorder.stage(text)
        recorder.total_steps = last_step  # the terminal counts to the end of the fine-tuning that goes on

    return StarLoop(
        run,
        prompts=prepared.prompts,
        fleet=session.fleet,
        rewards=session.rewards,
        learner=session.learner,
        publisher=session.publisher,
        tracker=recorder,
        store=RolloutStore(prepared.folder / "rollouts"),
        folder=prepared.folder,
        base=base_folder(prepared, run),
        evaluation_prompts=prepared.evaluation_prompts,
        thought_tags=ThoughtTags.of(prepared.tokenizer),
        announce=announce,
    )


def base_folder(prepared: Prepared, run: StarRun) -> Path:
    """Where the weights are that fine-tunings start from: the initial policy, or what the cold start made of it."""
    return prepared.folder / BASE_FOLDER if run.cold_start else prepared.model
