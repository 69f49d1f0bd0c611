"""What a STaR run reports of each iteration, and what it needs to go on after the last finished one: `star.json`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.rationales import Fate, Rationale
from trainers.star_sampling import Sampled
from trainers.star_tuning import Tuned

_STATE_FILE = "star.json"


@dataclass(frozen=True, slots=True)
class IterationReport:
    """The figures of one finished iteration. Counts are of completions unless they say otherwise."""

    iteration: int
    version: int  # of the weights that it made
    problems: int
    solved: int  # problems with an accepted rationale that was sampled without hint
    asked_with_hint: int  # problems
    rationalized: int  # problems with an accepted rationale that was made with the hint
    failed_groups: int
    samples: int  # scored, with and without hint
    generated_tokens: int
    trained: int  # accepted rationales
    trained_hinted: int  # of these made with a hint
    wrong: int
    too_short: int
    duplicates: int
    over_cap: int
    tuning_steps: int
    tuning_loss: float | None
    sample_s: float  # from the first request to the last verdict
    tune_s: float
    wait_s: float  # of the learner, for the samples

    @property
    def rationalized_share(self) -> float:
        """Share of the training data that was made with a hint."""
        return self.trained_hinted / self.trained

    def metrics(self) -> dict[str, float]:
        """`star/*`."""
        metrics = {
            "star/iteration": self.iteration,
            "star/solved_share": self.solved / self.problems,
            "star/rationalized_share": self.rationalized_share,
            "star/trained": self.trained,
            "star/wrong_share": self.wrong / self.samples,
            "star/too_short_share": self.too_short / self.samples,
            "star/duplicate_share": self.duplicates / self.samples,
            "star/over_cap_share": self.over_cap / self.samples,
            "star/failed_groups": self.failed_groups,
            "star/sample_s": self.sample_s,
            "star/tune_s": self.tune_s,
            "star/wait_s": self.wait_s,
        }
        if self.asked_with_hint:
            metrics["star/hint_solved_share"] = self.rationalized / self.asked_with_hint
        return {name: float(value) for name, value in metrics.items()}


def report_iteration(sampled: Sampled, tuned: Tuned, *, tune_s: float, wait_s: float) -> IterationReport:
    """Count what an iteration did."""
    trained = sampled.with_fate("trained")

    def count(*fates: Fate) -> int:
        return len(sampled.with_fate(*fates))

    def problems(rationales: list[Rationale]) -> int:
        return len({id(rationale.problem) for rationale in rationales})

    return IterationReport(
        iteration=sampled.iteration,
        version=tuned.version,
        problems=sampled.problems,
        solved=problems([r for r in trained if not r.hinted]),
        asked_with_hint=sampled.asked_with_hint,
        rationalized=problems([r for r in trained if r.hinted]),
        failed_groups=sampled.failed_groups,
        samples=len(sampled.rationales),
        generated_tokens=sum(len(r.completion.token_ids) for r in sampled.rationales),
        trained=len(trained),
        trained_hinted=sum(r.hinted for r in trained),
        wrong=count("wrong"),
        too_short=count("too_short"),
        duplicates=count("duplicate"),
        over_cap=count("over_cap"),
        tuning_steps=tuned.steps,
        tuning_loss=tuned.loss,
        sample_s=sampled.seconds,
        tune_s=tune_s,
        wait_s=wait_s,
    )


def best_iteration(evaluations: Sequence[dict[str, float]]) -> int | None:
    """With the highest held-out accuracy, the first of equals: to repeat is not to rise. None without evaluations."""
    if not evaluations:
        return None
    return int(max(evaluations, key=lambda evaluation: evaluation["eval/accuracy"])["iteration"])


@dataclass(frozen=True, slots=True)
class StarState:
    """A cut between two iterations."""

    iteration: int  # the last finished one; 0 before the first
    version: int  # of the learner
    prompt_cursor: dict[str, Any]  # where the next iteration's problems begin
    reports: tuple[IterationReport, ...] = ()
    evaluations: tuple[dict[str, float], ...] = field(default=())  # metrics of each, with "iteration"; 0 is before


def write_state(folder: Path, state: StarState) -> None:
    """Write into an existing folder."""
    (folder / _STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")


def read_state(folder: Path) -> StarState:
    """Inverse of `write_state`."""
    facts: dict[str, Any] = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    reports = tuple(IterationReport(**report) for report in facts["reports"])
    return StarState(
        iteration=facts["iteration"],
        version=facts["version"],
        prompt_cursor=facts["prompt_cursor"],
        reports=reports,
        evaluations=tuple(facts["evaluations"]),
    )
